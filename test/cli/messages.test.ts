import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, describe, expect, it } from 'vitest';
import type {
  CallAgentRequest,
  SendMessageRequest,
} from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { MessageTrace_Step as Step } from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
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
  return ['--server', service.address, 'messages'];
}

const refused = (reason: string, code: Code, message = reason) =>
  new ConnectError(message, code, { 'error-reason': reason });

describe('messages send', () => {
  async function sending(more: MessageMethods = {}) {
    const sent: SendMessageRequest[] = [];
    const start = await serving({
      sendMessage: (request) => {
        sent.push(request);
        return {
          messageId: request.send?.message?.id ?? '',
          receivers: 1,
          agentId: 'w1',
          deliveryId: 'd1',
          revision: 7n,
        };
      },
      ...more,
    });
    return { start: [...start, 'send'], sent };
  }

  it('sends what it is told to whom it is told, and says where it is stored', async () => {
    const { start, sent } = await sending();
    const words = ['--to-agent', 'w1', '--type', 'note', '--data', 'hello', '--id', 'm1', '--source', 'me'];
    const more = ['--subject', 's', '--key', 'k', '--expire-after', '1m', '--extension', 'dataschema=x'];
    const run = await cli([...start, ...words, ...more]);
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toBe('stored: for w1, message m1, delivery d1, revision 7\n');
    expect(sent).toMatchObject([
      {
        send: {
          to: { case: 'agentId', value: 'w1' },
          orderingKey: 'k',
          expireAfter: { seconds: 60n },
          message: {
            id: 'm1',
            source: 'me',
            type: 'note',
            subject: 's',
            extensions: { dataschema: 'x' },
            data: { data: { case: 'text', value: 'hello' } },
          },
        },
      },
    ]);
  });

  it('takes its content from a file or from stdin, as text, JSON or bytes', async () => {
    const { start, sent } = await sending();
    const directory = mkdtempSync(join(tmpdir(), 'orchestrator-test-'));
    try {
      const file = join(directory, 'f');
      writeFileSync(file, '{"a": [1]}');
      expect(
        await cli([...start, '--to-topic', 't', '--type', 'x', '--json', '--data', `@${file}`]),
      ).toMatchObject({
        code: 0,
      });
      writeFileSync(file, Uint8Array.of(0xff, 0));
      const png = ['--content-type', 'image/png'];
      await cli([...start, '--to-capability', 'c', '--type', 'x', '--data', `@${file}`, ...png]);
    } finally {
      rmSync(directory, { recursive: true });
    }
    const run = startCli([...start, '--to-selector', 'a=b', '--type', 'x', '--data', '-']);
    run.type('from stdin');
    run.endInput();
    expect(await run.ended).toBe(0);
    expect(sent.map(({ send }) => [send?.to.case, send?.message?.data?.data.case])).toEqual([
      ['topic', 'json'],
      ['capability', 'binary'],
      ['selector', 'text'],
    ]);
    expect(sent[1]?.send?.message?.data?.contentType).toBe('image/png');
  });

  it.each([
    ['nobody', ['--type', 'x'], 'for whom?'],
    ['two', ['--type', 'x', '--to-agent', 'a', '--to-topic', 't'], 'for whom?'],
    ['no type', ['--to-agent', 'a'], '--type'],
    ['broken JSON', ['--type', 'x', '--to-agent', 'a', '--json', '--data', '{'], 'not JSON'],
    ['JSON of nothing', ['--type', 'x', '--to-agent', 'a', '--json'], 'are about --data'],
    ['a file that is not there', ['--type', 'x', '--to-agent', 'a', '--data', '@/nowhere/at/all'], 'ENOENT'],
  ])('for %s nothing is sent, and the code is 2', async (_, words, hint) => {
    const { start, sent } = await sending();
    const run = await cli([...start, ...words]);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain(hint);
    expect(sent).toEqual([]);
  });

  it('says how to repeat what may be stored, and tells refusals by their codes', async () => {
    const { start } = await sending({
      sendMessage: () => {
        throw refused('OUTCOME_UNKNOWN', Code.Unavailable);
      },
    });
    const words = ['--type', 'x', '--to-agent', 'a', '--id', 'm9'];
    const run = await cli([...start, ...words]);
    expect(run.code).toBe(1);
    expect(run.stderr).toContain('repeat it with --id m9');
    await service?.close();
    const gone = await sending({
      sendMessage: () => {
        throw refused('AGENT_NOT_FOUND', Code.NotFound);
      },
    });
    expect(await cli([...gone.start, ...words])).toMatchObject({ code: 3, stdout: '' });
  });

  it('tells of receivers that link policies left out', async () => {
    const { start } = await sending({ sendMessage: () => ({ messageId: 'm', receivers: 3, muted: 2 }) });
    const run = await cli([...start, '--type', 'x', '--to-topic', 't']);
    expect(run.stdout).toContain('for 3 receivers');
    expect(run.stderr).toContain('2 receivers muted, 0 throttled');
  });
});

describe('messages call', () => {
  const words = ['call', '--to-agent', 'w1', '--type', 'sum', '--id', 'c1', '--source', 'me'];
  const output = { data: { case: 'text' as const, value: '6' } };

  /** A service whose call takes the steps that it is told. */
  function stepping(steps: readonly Step[], calls: CallAgentRequest[] = []): MessageMethods {
    let told: () => void = () => {};
    const watched = new Promise<void>((resolve) => {
      told = resolve;
    });
    return {
      watchMessages: async function* () {
        yield { revision: 1n };
        for (const step of steps) {
          yield { traces: [{ step, messageId: 'another', agentId: 'w9' }] };
          yield { traces: [{ step, messageId: 'c1', agentId: 'w1', tries: 1 }] };
        }
        told();
        await new Promise((resolve) => setTimeout(resolve, 50));
      },
      callAgent: async (request) => {
        calls.push(request);
        await watched;
        await new Promise((resolve) => setTimeout(resolve, 20));
        return { output, agentId: 'w1', deliveryId: 'd1', elapsed: { seconds: 1n } };
      },
    };
  }
  const way = [Step.STORED, Step.HANDED_OUT, Step.TAKEN_ON, Step.DONE];

  it('prints the answer as it is, and each step on stderr', async () => {
    const calls: CallAgentRequest[] = [];
    const start = await serving(stepping(way, calls));
    const run = await cli([...start, ...words, '--wait', '2s', '--idempotent']);
    expect(run).toMatchObject({ code: 0, stdout: '6' });
    expect(run.stderr.trim().split('\n')).toEqual([
      'stored for w1',
      'handed out',
      'taken on',
      'answered by w1 1.0s',
    ]);
    expect(calls).toMatchObject([
      { idempotent: true, timeout: { seconds: 2n }, send: { message: { id: 'c1' } } },
    ]);
  });

  it('is one line that grows on a terminal', async () => {
    const start = await serving(stepping(way));
    const run = await cli([...start, ...words], { columns: 100 });
    expect(run.stderr).toMatch(/stored for .*w1.* → .*handed out.* → .*taken on.* → .*answered.* by .*w1/);
    expect(run.stderr.split('\n').every((line) => !line.includes('w9'))).toBe(true);
    expect(run.stdout).toBe('6\n');
  });

  it('is JSON for programs', async () => {
    const start = await serving(stepping([]));
    const run = await cli([...start, ...words, '-o', 'json']);
    expect(JSON.parse(run.stdout)).toMatchObject({ output: { text: '6' }, agentId: 'w1', elapsed: '1s' });
  });

  it('needs nobody who tells of steps', async () => {
    const start = await serving({ callAgent: () => ({ output, agentId: 'w1' }) });
    expect(await cli([...start, ...words])).toMatchObject({ code: 0, stdout: '6' });
  });

  it.each([
    ['nobody is there', 'NO_RECEIVER', Code.NotFound, 3],
    ['the agent failed', 'CALL_FAILED', Code.FailedPrecondition, 4],
    ['nobody answered', 'DEADLINE_EXCEEDED', Code.DeadlineExceeded, 1],
    ['the agent is lost', 'RECEIVER_GONE', Code.Unavailable, 1],
  ])('when %s the code says so', async (_, reason, code, exit) => {
    const start = await serving({
      callAgent: () => {
        throw refused(reason, code, 'agent w1 failed the call: no numbers');
      },
    });
    const run = await cli([...start, ...words]);
    expect(run).toMatchObject({ code: exit, stdout: '' });
    expect(run.stderr).toContain('no numbers');
    expect(run.stderr).toContain(reason);
  });

  it('a retry of the agent is told while it waits', async () => {
    const start = await serving({
      ...stepping([]),
      watchMessages: async function* () {
        const failed = { step: Step.FAILED, messageId: 'c1', agentId: 'w1', error: 'busy' };
        yield { traces: [{ ...failed, time: { seconds: 1n }, retryTime: { seconds: 3n } }] };
        await new Promise((resolve) => setTimeout(resolve, 100));
      },
      callAgent: async () => {
        await new Promise((resolve) => setTimeout(resolve, 50));
        return { output, agentId: 'w1' };
      },
    });
    expect((await cli([...start, ...words])).stderr).toContain('failed: busy, again in 2.0s');
  });

  it('Ctrl-C takes the call back', async () => {
    let takenBack = false;
    let called: () => void = () => {};
    const call = new Promise<void>((resolve) => {
      called = resolve;
    });
    const start = await serving({
      callAgent: async (_request, { signal }) => {
        called();
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        takenBack = true;
        return {};
      },
      watchMessages: async function* () {
        yield { revision: 1n };
        await call;
        yield { traces: [{ step: Step.STORED, messageId: 'c1', agentId: 'w1' }] };
        await new Promise((resolve) => setTimeout(resolve, 100));
      },
    });
    const run = startCli([...start, ...words]);
    await run.shows('stored for w1');
    run.interrupt();
    expect(await run.ended).toBe(130);
    await expect.poll(() => takenBack).toBe(true);
  });
});
