import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  Drain_State as DrainState,
  Agent_Liveness as Liveness,
  Agent_Phase as Phase,
  ProcessReport_State as ProcessState,
  Restart_State as RestartState,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { connectAgent } from '../../src/client/index.ts';
import type { CliProcess } from '../support/cli-process.ts';
import { Stack } from '../support/stack.ts';
import { gone, runs, Workshop } from '../support/supervised.ts';
import { until } from '../support/until.ts';

const sleeper = `
import os, time
print("pid", os.getpid())
time.sleep(120)
`;

let stack: Stack;
let workshop: Workshop;
beforeEach(async () => {
  workshop = new Workshop();
  stack = await Stack.start('lmdb');
});
afterEach(async () => {
  await workshop.close();
  await stack.dispose();
});

const get = async (agentId: string) => (await stack.clients.agents.getAgent({ agentId })).agent;
const state = async (agentId: string) => (await get(agentId))?.observation?.report?.process?.state;
async function pidOf(supervisor: CliProcess, starts = 1): Promise<number> {
  const pids = await until(
    () => workshop.pids(supervisor),
    (all) => all.length >= starts,
    { what: `start ${starts}`, timeoutMs: 15_000 },
  );
  return pids.at(-1) ?? 0;
}
const reaches = (agentId: string, phase: Phase) =>
  until(
    () => get(agentId),
    (agent) => agent?.phase === phase,
    { what: `${agentId} in phase ${phase}`, timeoutMs: 15_000 },
  );

describe('a supervised program', () => {
  test('is drained, resumed, restarted and stopped through the service', async () => {
    const { agents } = stack.clients;
    const program = workshop.program('sleeper.py', sleeper);
    const supervisor = workshop.supervise(
      stack.service.grpc,
      ['--id', 'w-1', '--label', 'tier=web'],
      program,
    );
    await reaches('w-1', Phase.ACTIVE);
    const first = await pidOf(supervisor);
    await until(
      () => get('w-1'),
      (agent) => agent?.observation?.report?.process?.pid === first,
      { what: 'its process' },
    );

    await agents.drainAgent({ agentId: 'w-1', reason: 'maintenance' });
    const drained = await reaches('w-1', Phase.DRAINED);
    expect(drained?.drain).toMatchObject({ state: DrainState.STOPPED, reason: 'maintenance' });
    expect(await runs(first)).toBe(false);
    await until(
      () => state('w-1'),
      (is) => is === ProcessState.STOPPED,
    );

    await agents.resumeAgent({ agentId: 'w-1' });
    const second = await pidOf(supervisor, 2);
    await reaches('w-1', Phase.ACTIVE);

    await agents.restartAgent({ agentId: 'w-1', reason: 'new version' });
    const third = await pidOf(supervisor, 3);
    expect(await runs(second)).toBe(false);
    await until(
      () => get('w-1'),
      (agent) => agent?.restart?.state === RestartState.DONE,
      { what: 'the restart done' },
    );

    await agents.stopAgent({ agentId: 'w-1', reason: 'the end' });
    expect((await supervisor.ended()).code).toBe(0);
    await gone(third);
    const stopped = await get('w-1');
    expect(stopped).toMatchObject({ phase: Phase.STOPPED, liveness: Liveness.LEFT });
  });

  test('runs without the service, and is there when the service is', async () => {
    const { grpc } = stack.service;
    await stack.service.kill('SIGKILL');
    const program = workshop.program('sleeper.py', sleeper);
    const supervisor = workshop.supervise(grpc, ['--id', 'w-2'], program);
    const pid = await pidOf(supervisor);
    await supervisor.shows('is not attached');
    await stack.restart();
    await reaches('w-2', Phase.ACTIVE);
    await stack.restart();
    await reaches('w-2', Phase.ACTIVE);
    await until(
      () => get('w-2'),
      (agent) => agent?.liveness === Liveness.CONNECTED,
    );
    expect(workshop.pids(supervisor)).toEqual([pid]);
    expect(await runs(pid)).toBe(true);
  });

  test('finishes a drain that was ordered before the service was killed, and says so to the next one', async () => {
    const program = workshop.program(
      'slow.py',
      `
import os, signal, sys, time
def finish(*_):
    print("finishing")
    while not os.path.exists(sys.argv[1]): time.sleep(0.05)
    sys.exit(0)
signal.signal(signal.SIGTERM, finish)
print("pid", os.getpid())
while True: signal.pause()
`,
    );
    const options = ['--id', 'w-4', '--stop-timeout', '1s'];
    const supervisor = workshop.supervise(stack.service.grpc, options, program, workshop.path('may-end'));
    await reaches('w-4', Phase.ACTIVE);
    await pidOf(supervisor);
    await stack.clients.agents.drainAgent({ agentId: 'w-4', deadline: { seconds: 100n } });
    await supervisor.shows('finishing');
    await until(
      () => get('w-4'),
      (agent) => agent?.drain?.running.length === 1,
      { what: 'what still runs' },
    );
    await stack.service.kill('SIGKILL');
    workshop.program('may-end', '');
    await supervisor.shows('and stays down (drain)');
    await stack.restart();
    const drained = await reaches('w-4', Phase.DRAINED);
    expect(drained?.drain?.state).toBe(DrainState.STOPPED);
    expect(supervisor.stdout.match(/finishing/g)).toHaveLength(1);
  });

  test('that an operator stopped while it was away is ended when it is heard of again', async () => {
    const program = workshop.program('sleeper.py', sleeper);
    const options = ['--id', 'w-3', '--token-file', workshop.path('token')];
    const first = workshop.supervise(stack.service.grpc, options, program);
    await reaches('w-3', Phase.ACTIVE);
    const old = await pidOf(first);
    first.signal('SIGTERM');
    expect((await first.ended()).code).toBe(143);
    expect(await runs(old)).toBe(false);
    await stack.clients.agents.stopAgent({ agentId: 'w-3', reason: 'not wanted' });
    const second = workshop.supervise(stack.service.grpc, options, program);
    const { code, stderr } = await second.ended();
    expect(code).toBe(0);
    expect(stderr).toContain('was stopped by an operator');
  });
});

test('an agent of the SDK drains what it holds and stops by order, without a line of its own', async () => {
  const agent = await connectAgent({ server: stack.service.grpc, id: 'sdk-1', spec: { kind: 'test' } });
  await stack.clients.agents.drainAgent({ agentId: 'sdk-1' });
  await reaches('sdk-1', Phase.DRAINED);
  await stack.clients.agents.resumeAgent({ agentId: 'sdk-1' });
  await reaches('sdk-1', Phase.ACTIVE);
  await stack.clients.agents.stopAgent({ agentId: 'sdk-1' });
  expect(await agent.closed).toBeUndefined();
  expect(await get('sdk-1')).toMatchObject({ phase: Phase.STOPPED, liveness: Liveness.LEFT });
});

test('a program that fails every second or so is set aside, and its exits say why', async () => {
  const policy = ['--quarantine-after', '3', '--quarantine-window', '1m', '--cool-off', '5s'];
  const backoff = ['--backoff-min', '300ms', '--backoff-max', '2s'];
  const flaky = join('examples', 'supervise', 'flaky.py');
  const supervisor = workshop.supervise(
    stack.service.grpc,
    ['--id', 'flaky', ...policy, ...backoff],
    flaky,
    '0.5',
  );
  const aside = await reaches('flaky', Phase.QUARANTINED);
  expect(aside?.quarantine?.reason).toMatch(/fail/);
  await supervisor.shows('held down (quarantine)');
  const explained = await until(
    () => stack.clients.agents.explainAgent({ agentId: 'flaky' }),
    ({ agent }) => agent?.observation?.report?.process?.state === ProcessState.STOPPED,
    { what: 'the program down' },
  );
  expect(explained.exits.length).toBeGreaterThanOrEqual(3);
  const [last] = explained.exits;
  expect(last).toMatchObject({ exitCode: 1, requested: false });
  expect(last?.lastLines.at(-1)).toMatch(/^RuntimeError: page \d+ cannot be read$/);
  expect(last?.lastLines).toContain('read page 1');
  expect(explained.failures.map(({ kind }) => kind)).toContain('crashed');
  await reaches('flaky', Phase.ACTIVE); // the cool-off is over
  await until(
    () => supervisor.stderr.match(/started \(pid/g)?.length ?? 0,
    (starts) => starts > explained.exits.length,
    { what: 'another start' },
  );
});
