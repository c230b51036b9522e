import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type AgentHandle, connectAgent } from '../../src/client/index.ts';
import { CliProcess } from '../support/cli-process.ts';
import { ServiceProcess } from '../support/service.ts';
import { until } from '../support/until.ts';

let service: ServiceProcess;
let agent: AgentHandle;
const aborted: string[] = [];

beforeAll(async () => {
  service = await ServiceProcess.start();
  agent = await connectAgent({
    server: service.grpc,
    id: 'worker',
    spec: {
      kind: 'test',
      capabilities: [{ name: 'sum' }, { name: 'hang' }],
      capacity: { slots: 4n, gpu: 1n },
    },
    onTask: {
      sum: ({ input }) => {
        const numbers = input as number[];
        if (numbers.length === 0) throw new Error('nothing to add up');
        return numbers.reduce((sum, each) => sum + each, 0);
      },
      hang: ({ id, signal }) =>
        new Promise((_resolve, reject) => {
          const stop = () => {
            aborted.push(id);
            reject(signal.reason);
          };
          signal.addEventListener('abort', stop, { once: true });
        }),
    },
  });
});
afterAll(async () => {
  await agent?.close();
  await service?.stop();
});

const env = () => ({ ORCHESTRATOR_SERVER: service.grpc });
const cli = (...words: string[]) => CliProcess.run(words, env());

describe('the CLI gives tasks to a running service', () => {
  it('and waits for their output, or their failure', async () => {
    const done = await cli(
      'tasks',
      'submit',
      'sum',
      '--json',
      '--input',
      '[1,2,3]',
      '--id',
      'first',
      '--wait',
    );
    expect(done).toMatchObject({ code: 0, stdout: '6' });
    expect(done.stderr).toContain('first SUCCEEDED on worker');
    expect(await cli('tasks', 'get', 'first', '--result')).toMatchObject({ code: 0, stdout: '6' });
    const failed = await cli(
      'tasks',
      'submit',
      'sum',
      '--json',
      '--input',
      '[]',
      '--max-attempts',
      '1',
      '--wait',
    );
    expect(failed).toMatchObject({ code: 1, stdout: '' });
    expect(failed.stderr).toContain('nothing to add up');
    expect(await cli('tasks', 'submit', 'dance', '--must-fit')).toMatchObject({ code: 4 });
  });

  it('and says why one waits', async () => {
    await cli('tasks', 'submit', 'sum', '--resource', 'gpu=2', '--id', 'large');
    expect((await cli('tasks', 'list')).stdout).toMatch(/large +sum +PENDING .*TOO_LARGE for .*gpu/);
    const explained = await cli('tasks', 'explain', 'large');
    expect(explained.stdout).toContain('no agent that is known could ever have it');
    expect(await cli('tasks', 'cancel', 'large', '--reason', 'too large')).toMatchObject({ code: 0 });
    expect(await cli('tasks', 'watch', 'large')).toMatchObject({ code: 6, stdout: '' });
  });

  it('and ends one that runs, at Ctrl-C where that was asked for', async () => {
    const words = ['tasks', 'submit', 'hang', '--id', 'endless', '--wait', '--cancel-on-interrupt'];
    const waiting = CliProcess.start(words, env());
    onTestFinished(() => waiting.stop());
    await waiting.shows('RUNNING on worker');
    const usage = await cli('resources', 'usage');
    expect(usage.stdout).toMatch(/worker +1 task +gpu +0 +1 /);
    expect(usage.stdout).toMatch(/slots +1 +4 /);
    waiting.signal('SIGINT');
    expect(await waiting.exited).toBe(130);
    expect(waiting.stderr).toContain('endless is cancelled');
    await until(
      () => aborted,
      (ids) => ids.includes('endless'),
      { what: 'the handler to be told' },
    );
  });
});

describe('the CLI keeps resources for somebody', () => {
  it('and budgets within their quota', async () => {
    expect(await cli('resources', 'quotas', 'set', 'team', '--budget', 'tokens=100')).toMatchObject({
      code: 0,
    });
    const words = ['--resource', 'gpu=1', '--budget', 'tokens=60', '--label', 'owner=team', '--id', 'mine'];
    expect(await cli('resources', 'allocate', ...words)).toMatchObject({ code: 0, stdout: 'mine\n' });
    const again = await cli('resources', 'allocate', '--budget', 'tokens=60', '--label', 'owner=team');
    expect(again).toMatchObject({ code: 1, stdout: '' });
    expect((await cli('resources', 'allocations')).stdout).toMatch(
      /mine +ACTIVE +worker +gpu 1 +tokens 0 of 60 +team/,
    );
    const released = await cli('resources', 'release', 'mine', '--spent', 'tokens=50');
    expect(released.stdout).toContain('released: mine on worker, spent tokens 50 of 60');
    await until(
      async () => (await cli('resources', 'quotas', 'get', 'team')).stdout,
      (text) => /tokens +budget +50 +100 /.test(text),
      { what: 'what was spent to be taken over', everyMs: 500 },
    );
    const where = await cli('resources', 'explain', 'sum', '--drained', 'worker');
    expect(where.stdout).toContain('AGENTS_AWAY');
    expect(await cli('resources', 'rebalance', 'plan')).toMatchObject({ code: 0 });
  });
});
