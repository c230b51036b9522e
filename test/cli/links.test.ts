import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type DeleteLinkPolicyRequest,
  MessageTrace_Step,
  type SetLinkPolicyRequest,
  type WatchMessagesRequest,
} from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { type FakeService, type FakeServiceOptions, startFakeService } from '../support/fake-service.ts';
import { cli, startCli } from '../support/run-cli.ts';

type MessageMethods = NonNullable<FakeServiceOptions['messages']>;

let service: FakeService | undefined;
afterEach(async () => {
  await service?.close();
  service = undefined;
});

async function serving(messages: MessageMethods): Promise<string[]> {
  service = await startFakeService({ messages });
  return ['--server', service.address];
}

describe('links', () => {
  it.each<[string[], object]>([
    [
      ['--from', 'agent:a', '--mute', '--reason', 'noise'],
      { from: 'agent:a', to: '', reason: 'noise', action: { case: 'mute' } },
    ],
    [
      ['--to', 'team=x', '--reroute', 'b', '--priority', '-5'],
      { to: 'team=x', priority: -5, action: { case: 'reroute', value: { agentId: 'b' } } },
    ],
    [
      ['--throttle', '0.5', '--burst', '3', '--per-link'],
      { action: { case: 'throttle', value: { maxPerSecond: 0.5, burst: 3, perLink: true } } },
    ],
  ])('set sends the policy that %j describes', async (words, policy) => {
    const asked: SetLinkPolicyRequest[] = [];
    const start = await serving({
      setLinkPolicy: (request) => {
        asked.push(request);
        return { policy: { ...request.policy, revision: 9n } } as never;
      },
    });
    const done = await cli([...start, '-n', 'lab', 'links', 'set', 'p1', ...words, '--if-revision', '0']);
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(done.stdout).toMatch(/^set: p1: .*, revision 9\n$/);
    expect(asked).toMatchObject([
      { namespace: 'lab', expectedRevision: 0n, policy: { id: 'p1', ...policy } },
    ]);
    expect(asked[0]?.requestId).not.toBe('');
  });

  it.each<[string[], string]>([
    [[], 'one of --mute, --reroute and --throttle'],
    [['--mute', '--throttle', '1'], 'one of --mute, --reroute and --throttle'],
    [['--mute', '--per-link'], '--burst and --per-link go with --throttle'],
    [['--throttle', 'fast'], 'write how many a second'],
    [['--mute', '--priority', 'high'], 'write a whole number from -1000 to 1000'],
  ])('set refuses %j before it asks anybody', async (words, message) => {
    const done = await cli(['--server', '127.0.0.1:1', 'links', 'set', 'p1', ...words]);
    expect(done.code).toBe(2);
    expect(done.stderr).toContain(message);
  });

  it('delete removes a policy, with the revision that it must have', async () => {
    const asked: DeleteLinkPolicyRequest[] = [];
    const start = await serving({
      deleteLinkPolicy: (request) => {
        asked.push(request);
        if (request.expectedRevision === 3n)
          throw new ConnectError('it has revision 4', Code.Aborted, { 'error-reason': 'REVISION_MISMATCH' });
        return { revision: 12n };
      },
    });
    expect(await cli([...start, 'links', 'delete', 'p1'])).toMatchObject({
      code: 0,
      stdout: 'removed: p1 at revision 12\n',
    });
    expect(await cli([...start, 'links', 'rm', 'p1', '--if-revision', '3'])).toMatchObject({ code: 4 });
    expect(asked.map(({ expectedRevision }) => expectedRevision)).toEqual([undefined, 3n]);
  });

  it('list shows policies in their order, over pages, escaped', async () => {
    const start = await serving({
      listLinkPolicies: ({ pageToken }) =>
        pageToken === ''
          ? {
              policies: [
                {
                  id: 'p1',
                  from: 'team=x',
                  action: { case: 'mute', value: {} },
                  priority: 3,
                  reason: 'no\u001b[31m',
                },
              ],
              nextPageToken: 'more',
            }
          : {
              policies: [
                { id: 'p2', to: 'agent:b', action: { case: 'throttle', value: { maxPerSecond: 2 } } },
              ],
            },
    });
    const { stdout } = await cli([...start, 'links', 'list']);
    expect(stdout).toMatch(
      /^POLICY .*\np1 +team=x +everyone +mute +3 .*no\\x1b\[31m\np2 +everyone +agent:b +throttle to 2\/s +0 /,
    );
  });

  it('traffic shows counts and latencies, and since when they are counted', async () => {
    const start = await serving({
      listMessageLinks: ({ agentId, sender, receiver }) => ({
        links: [
          {
            ...{ sender: 'a', receiver: 'b', sent: 12n, done: 10n, failed: 1n, inFlight: 1, keptBack: 4n },
            takeOnLatency: { count: 11n, p50: { nanos: 2_000_000 }, p99: { nanos: 9_000_000 } },
            doneLatency: { count: 10n, p50: { nanos: 30_000_000 }, p99: { seconds: 2n } },
          },
          { sender: `${agentId}-${sender}-${receiver}`, receiver: 'c' },
        ],
        replicaId: 'r-1',
        startTime: { seconds: 1_700_000_000n },
      }),
    });
    const done = await cli([...start, 'links', 'traffic', '--agent', 'x', '--from', 'y', '--to', 'z']);
    expect(done.stdout).toMatch(/\na +b +12 +10 +1 +1 +4 +2\.0ms +9\.0ms +30ms +2\.0s /);
    expect(done.stdout).toMatch(/\nx-y-z +c +0 +0 +0 +0 +0 +– +– +– +– +–\n$/);
    expect(done.stderr).toMatch(/^counted by r-1 since 2023-11-1\d/);
  });
});

describe('messages tail', () => {
  const trace = (more: object) => ({
    ...{
      step: MessageTrace_Step.STORED,
      messageId: 'm-1',
      type: 'note',
      source: 'ann',
      target: 'agent:a1',
      agentId: 'a1',
    },
    ...{ time: { seconds: 1_700_000_000n, nanos: 7_000_000 }, revision: 5n, count: 1, bytes: 12 },
    ...more,
  });

  it('says a line for each step, readable and escaped, until it is interrupted', async () => {
    const asked: WatchMessagesRequest[] = [];
    const start = await serving({
      watchMessages: async function* (request, context) {
        asked.push(request);
        yield { revision: 4n };
        yield {
          traces: [
            trace({ data: { data: { case: 'text', value: 'hi\u0007' } } }),
            trace({
              step: MessageTrace_Step.HANDED_OUT,
              tries: 2,
              latency: { nanos: 3_000_000 },
              target: 'topic:jobs',
            }),
            trace({
              step: MessageTrace_Step.DEAD_LETTER,
              latency: { seconds: 5n },
              reason: 'expired',
              call: true,
            }),
            trace({ step: MessageTrace_Step.REROUTED, agentId: 'a2', fromAgentId: 'a1', policyId: 'detour' }),
            trace({ step: MessageTrace_Step.MUTED, revision: 0n, count: 7, policyId: 'quiet' }),
          ],
        };
        await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
      },
    });
    const words = [
      '--agent',
      'a1,a2',
      '--type',
      'no*',
      '--step',
      'stored',
      '--step',
      'dead_letter,muted',
      '--data',
    ];
    const running = startCli([...start, 'messages', 'tail', ...words]);
    await running.shows('×7');
    running.interrupt();
    const done = { code: await running.ended, stdout: running.stdout, stderr: running.stderr };
    expect(done.code).toBe(130);
    const lines = done.stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/^\d\d:\d\d:\d\d/, 'T'));
    expect(lines).toEqual([
      'T.007 STORED      ann → a1  note m-1  12 B  hi\\x07',
      'T.007 HANDED_OUT  ann → a1  note m-1  to topic:jobs  after 3.0ms  try 2',
      'T.007 DEAD_LETTER ann → a1  call note m-1  after 5.0s  expired',
      'T.007 REROUTED    ann → a2  note m-1  instead of a1  12 B  policy detour',
      'T.007 MUTED       ann → a1  note m-1  policy quiet  ×7',
    ]);
    expect(done.stderr).toBe('following the traffic from now on\n');
    const { STORED, DEAD_LETTER, MUTED } = MessageTrace_Step;
    expect(asked).toMatchObject([
      { agentIds: ['a1', 'a2'], types: ['no*'], steps: [STORED, DEAD_LETTER, MUTED], withData: true },
    ]);
  });

  it('goes on after the connection or the store was lost, and says that steps are missing', async () => {
    let opened = 0;
    const start = await serving({
      watchMessages: async function* (_request, context) {
        opened += 1;
        yield { revision: 4n };
        if (opened === 1) throw new ConnectError('gone', Code.Unavailable);
        if (opened === 2) throw new ConnectError('anew', Code.OutOfRange, { 'error-reason': 'CURSOR_EPOCH' });
        yield { traces: [trace({})] };
        await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
      },
    });
    const running = startCli([...start, 'messages', 'tail', '-o', 'json']);
    await running.shows('m-1');
    running.interrupt();
    const done = { code: await running.ended, stdout: running.stdout, stderr: running.stderr };
    expect(done.stderr).toContain('steps meanwhile are not told');
    expect(done.stderr).toContain('the store was read anew');
    expect(opened).toBe(3);
    expect(JSON.parse(done.stdout.trimEnd().split('\n').at(-1) ?? '')).toMatchObject({
      traces: [{ step: 'STEP_STORED' }],
    });
  });

  it('refuses a step that there is not', async () => {
    const done = await cli(['messages', 'tail', '--step', 'lost']);
    expect(done.code).toBe(2);
    expect(done.stderr).toContain('one of stored, rerouted, handed_out');
  });
});
