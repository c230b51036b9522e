import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, describe, expect, it } from 'vitest';
import {
  AgentOutcome_State,
  type Operation,
  Operation_State,
  OperationSchema,
  type StartOperationRequest,
  type WatchOperationResponse,
  WatchOperationResponseSchema,
} from '../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import {
  type FakeService,
  type FakeServiceOptions,
  startFakeService,
  untilAborted,
} from '../support/fake-service.ts';
import { cli, startCli } from '../support/run-cli.ts';

type Methods = NonNullable<FakeServiceOptions['operations']>;
const { DONE, FAILED, WAITING, DELIVERED } = AgentOutcome_State;
const { RUNNING, STOPPED, SUCCEEDED } = Operation_State;

let service: FakeService | undefined;
afterEach(async () => {
  await service?.close();
  service = undefined;
});

const operation = (
  state: Operation_State,
  counts: [AgentOutcome_State, number][],
  more: object = {},
): Operation =>
  create(OperationSchema, {
    ...{ id: 'op-1', namespace: 'default', state, waves: 2, wave: 1, agents: 3, actor: 'ann', revision: 9n },
    spec: { command: 'check', reason: 'why not' },
    counts: counts.map(([each, count]) => ({ state: each, count })),
    ...more,
  });
const agent = (agentId: string, wave: number, state: AgentOutcome_State, more: object = {}) => ({
  ...{ agentId, wave, state, ...more },
});
const ended = { endTime: { seconds: 1n, nanos: 0 } };

/** What a watch of an operation says that stops, or that succeeds. */
const course = (end: 'stops' | 'succeeds'): WatchOperationResponse[] => {
  const all = [agent('a', 1, WAITING), agent('b', 1, WAITING), agent('c', 2, WAITING)];
  const last =
    end === 'succeeds'
      ? operation(SUCCEEDED, [[DONE, 3]], { ...ended, wave: 2, detail: '3 done' })
      : operation(
          STOPPED,
          [
            [WAITING, 1],
            [DONE, 1],
            [FAILED, 1],
          ],
          { detail: '1 failed, more than 0: b (it declined)' },
        );
  const second =
    end === 'succeeds' ? agent('b', 1, DONE) : agent('b', 1, FAILED, { error: 'it declined: \u001b[2Jno' });
  return [
    { operation: operation(RUNNING, [[WAITING, 3]]), agents: all },
    { operation: operation(RUNNING, [[WAITING, 3]]), synced: true, cursor: 'c1' },
    {
      operation: operation(RUNNING, [
        [WAITING, 1],
        [DELIVERED, 2],
      ]),
      agents: [agent('a', 1, DELIVERED)],
      synced: true,
    },
    {
      operation: operation(RUNNING, [
        [WAITING, 1],
        [DONE, 1],
        [DELIVERED, 1],
      ]),
      agents: [agent('a', 1, DONE, { verified: true, output: { data: { case: 'text', value: 'fine' } } })],
      ...{ synced: true, cursor: 'c2' },
    },
    { operation: last, agents: [second], synced: true, cursor: 'c3' },
  ].map((response) => create(WatchOperationResponseSchema, response));
};

async function serving(end: 'stops' | 'succeeds' | 'hangs', more: Methods = {}) {
  const started: StartOperationRequest[] = [];
  service = await startFakeService({
    operations: {
      startOperation: (request) => {
        started.push(request);
        const plan = [
          agent('a', 1, WAITING),
          agent('b', 1, WAITING, { error: 'it is lost' }),
          agent('c', 2, WAITING),
        ];
        return { operation: operation(RUNNING, [[WAITING, 3]]), agents: request.dryRun ? plan : [] };
      },
      async *watchOperation(_request, { signal }) {
        const all = course(end === 'hangs' ? 'stops' : end);
        yield* end === 'hangs' ? all.slice(0, 3) : all;
        if (end !== 'succeeds') await untilAborted(signal);
      },
      ...more,
    },
  });
  return { op: ['--server', service.address, 'operations'], started };
}

describe('operations start', () => {
  it('says what it starts, and tells of each agent and of the end', async () => {
    const { op, started } = await serving('succeeds');
    const words = [
      'start',
      'check',
      'a',
      'b',
      'c',
      '--wave',
      '50%',
      '--max-errors',
      '1',
      '--arguments',
      '{"x":1}',
    ];
    const run = await cli([...op, ...words]);
    expect(run.code).toBe(0);
    expect(started).toHaveLength(1);
    expect(started[0]?.spec).toMatchObject({
      command: 'check',
      agentIds: ['a', 'b', 'c'],
      wave: { amount: { case: 'percent', value: 50 } },
      maxErrors: { amount: { case: 'count', value: 1 } },
    });
    expect(started[0]?.spec?.filter).toBeUndefined();
    expect(run.stderr).toContain('started: op-1 for 3 agents in 2 waves');
    expect(run.stdout).toBe(
      'check running, wave 1 of 2\nwave 1  a done: fine\nwave 1  b done (its effect was not seen)\ncheck succeeded: 3 done\n',
    );
  });

  it('ends with code 1 where it stops, says who failed, and how it goes on', async () => {
    const { op } = await serving('stops');
    const run = await cli([...op, 'start', 'check', '-l', 'tier=web', '--yes']);
    expect(run.code).toBe(1);
    expect(run.stdout).toContain('b failed: it declined: \\x1b[2Jno');
    expect(run.stdout).toContain('check stopped, wave 1 of 2: 1 failed');
    expect(run.stderr).toContain('orchestrator operations resume op-1 --retry-failed');
  });

  it('shows on a terminal a picture in place, with those who failed', async () => {
    const { op } = await serving('stops');
    const run = startCli([...op, 'watch', 'op-1', '--color', 'never'], { columns: 80 });
    expect(await run.ended).toBe(1);
    expect(run.stdout).toContain('[####################..........] 1 failed, 1 done, 1 waiting');
    expect(run.stdout).toContain('b failed: it declined');
  });

  it('goes on without whoever pressed Ctrl-C', async () => {
    const { op } = await serving('hangs');
    const run = startCli([...op, 'start', 'check', 'a']);
    await run.shows('check running');
    run.interrupt();
    expect(await run.ended).toBe(130);
    expect(run.stderr).toContain('the operation goes on; orchestrator operations watch op-1');
  });

  it('names who would be touched, in which wave, and starts nothing', async () => {
    const { op, started } = await serving('succeeds');
    const run = await cli([...op, 'start', 'drain', '--all', '--wave', '2', '--dry-run']);
    expect(run).toMatchObject({ code: 0 });
    expect(started.map(({ dryRun }) => dryRun)).toEqual([true]);
    expect(started[0]?.spec?.filter).toBeDefined();
    expect(run.stdout).toMatch(/drain for 3 agents in 2 waves: waves of 2/);
    expect(run.stdout).toMatch(/ 1 {2}b +it is lost\n +2 {2}c/);
    expect(run.stderr).toContain('nothing was done; 1 with something to note');
  });

  it.each([
    [['start', 'drain'], 'which agents?'],
    [['start', 'drain', 'a', '--all'], 'not both'],
    [['start', 'drain', 'a', '--wave', '0'], '1 or more'],
    [['start', 'drain', 'a', '--max-errors', '101%'], 'a share such as 10%'],
    [['start', 'drain', 'a', '--min-health', '2'], '0 to 1'],
    [['start', 'drain', '-l', 'a=b'], 'add --yes'],
  ])('refuses %j', async (words, text) => {
    const { op } = await serving('succeeds');
    const run = await cli([...op, ...words]);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain(text);
  });
});

describe('operations list, show, pause, resume and cancel', () => {
  it('lists operations with how far they are', async () => {
    const list = [
      operation(
        STOPPED,
        [
          [WAITING, 1],
          [DONE, 1],
          [FAILED, 1],
        ],
        { detail: '1 failed' },
      ),
    ];
    const { op } = await serving('stops', { listOperations: () => ({ operations: list }) });
    expect((await cli([...op, 'list'])).stdout).toMatch(
      /\nop-1 +check +stopped +1\/2 +3 +1 +1 .* ann +1 failed\n/,
    );
  });

  it('shows an operation and each agent, over all pages', async () => {
    const pages: string[] = [];
    const { op } = await serving('stops', {
      getOperation: ({ pageToken, agentStates }) => {
        pages.push(`${pageToken} ${agentStates.join()}`);
        return {
          operation: operation(STOPPED, [
            [DONE, 1],
            [FAILED, 1],
          ]),
          agents: [
            pageToken === ''
              ? agent('a', 1, DONE, { verified: true, tries: 1 })
              : agent('b', 2, FAILED, { tries: 2, error: 'broken' }),
          ],
          nextPageToken: pageToken === '' ? 'next' : '',
        };
      },
    });
    const { stdout } = await cli([...op, 'show', 'op-1', '--state', 'done,failed']);
    expect(pages).toEqual([' 4,5', 'next 4,5']);
    expect(stdout).toMatch(/agents +3: 1 failed, 1 done\n/);
    expect(stdout).toMatch(/ 1 {2}a +done +yes +1\b/);
    expect(stdout).toMatch(/ 2 {2}b +failed +2 +broken/);
  });

  it('says what a change came to, and ends with code 4 where somebody else was faster', async () => {
    const asked: unknown[] = [];
    const { op } = await serving('stops', {
      resumeOperation: (request) => {
        asked.push(request);
        return { operation: operation(RUNNING, [[WAITING, 3]]) };
      },
      pauseOperation: () => {
        throw new ConnectError('another one', Code.Aborted, { 'error-reason': 'REVISION_MISMATCH' });
      },
    });
    const run = await cli([...op, 'resume', 'op-1', '--retry-failed', '--reason', 'fixed']);
    expect(run).toMatchObject({ code: 0, stdout: 'op-1 running in wave 1 of 2: 3 waiting\n' });
    expect(asked).toMatchObject([{ operationId: 'op-1', retryFailed: true, reason: 'fixed' }]);
    expect(await cli([...op, 'pause', 'op-1', '--if-revision', '3'])).toMatchObject({ code: 4 });
  });
});
