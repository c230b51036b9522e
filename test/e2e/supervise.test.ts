import { chmodSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ProcessReport_State as ProcessState } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type DeliveryUpdate,
  DeliveryUpdate_State as State,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { CliProcess } from '../support/cli-process.ts';
import { gone, runs, Watchpost, Workshop } from '../support/supervised.ts';
import { until } from '../support/until.ts';

const nobody = '127.0.0.1:1';
const sleeper = `
import os, time
print("pid", os.getpid())
time.sleep(60)
`;
/** Says which signal came, and ends when it is told to, with the code that is given. */
const listener = `
import os, signal, sys, time
def say(number, _):
    print("got", signal.Signals(number).name)
    if number in (signal.SIGTERM, signal.SIGINT):
        time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 0)
        print("finished")
        sys.exit(int(sys.argv[1]))
for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2): signal.signal(each, say)
print("pid", os.getpid())
while True: signal.pause()
`;
const stubborn = `
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("pid", os.getpid())
time.sleep(60)
`;
const crasher = `
import os, time
print("pid", os.getpid())
print("\\x1b[31mall is well\\x1b[0m")
time.sleep(0.2)
raise RuntimeError("the disk is full")
`;

let workshop: Workshop;
let post: Watchpost | undefined;
beforeEach(() => {
  workshop = new Workshop();
});
afterEach(async () => {
  post?.stop();
  post = undefined;
  await workshop.close();
});

async function firstPid(supervisor: CliProcess): Promise<number> {
  await supervisor.shows('pid ');
  const [pid] = await until(
    () => workshop.pids(supervisor),
    (pids) => pids.length > 0,
    { what: 'a process id' },
  );
  return pid ?? 0;
}
const states = (updates: DeliveryUpdate[]) => updates.map(({ state }) => state);

describe('without a service', () => {
  test('the program runs, is restarted with backoff, and its output passes through', async () => {
    const program = workshop.program('crasher.py', crasher);
    const limits = ['--backoff-min', '200ms', '--max-restarts', '3'];
    const begun = performance.now();
    const { code, stdout, stderr } = await workshop.supervise(nobody, limits, program).ended();
    expect(performance.now() - begun).toBeGreaterThan((200 + 400 + 800) * 0.9);
    expect(code).toBe(1);
    expect(stdout.split('\x1b[31mall is well\x1b[0m\n')).toHaveLength(5);
    expect(stderr.match(/RuntimeError: the disk is full/g)).toHaveLength(4);
    expect(stderr).toMatch(/is started again in 0\.[12]\d* s/);
    expect(stderr).toContain('no restart is left');
    expect(stderr).toContain('is not attached');
  });

  test.each([
    [['--quiet', '--', 'python3', '-c', 'import sys; sys.exit(0)'], 0],
    [['--restart', 'never', '--', 'python3', '-c', 'import sys; sys.exit(9)'], 9],
    [['--restart', 'never', '--', 'sh', '-c', 'kill -9 $$'], 137],
    [['--', '/nowhere/at/all'], 127],
    [['--backoff-max', '1ms', '--', 'true'], 2],
    [['--id', '-x-', '--', 'true'], 2],
    [['--quiet'], 2],
  ])('%j ends with %i', async (args, expected) => {
    const { code } = await workshop.run(['--server', nobody, ...args]).ended();
    expect(code).toBe(expected);
  });

  test('a file that cannot be run ends with 126', async () => {
    const path = workshop.program('text.txt', 'words');
    chmodSync(path, 0o644);
    const { code, stderr } = await workshop.run(['--server', nobody, '--', path]).ended();
    expect(code).toBe(126);
    expect(stderr).toContain('permission denied');
  });

  test('what a program leaves in its process group is ended before the next run', async () => {
    const program = workshop.program(
      'forks.py',
      `
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("pid", os.getpid(), flush=True)
print("left", child.pid, flush=True)
sys.exit(1)
`,
    );
    const supervisor = workshop.supervise(nobody, ['--backoff-min', '100ms'], program);
    await supervisor.shows('start 2)');
    const [, left] = /^left (\d+)$/m.exec(supervisor.stdout) ?? [];
    await gone(Number(left));
  });

  test('a reader of its output that goes away does not end the program', async () => {
    const program = workshop.program(
      'talker.py',
      `
import os, time
print("pid", os.getpid())
for i in range(10_000): print("x" * 200); time.sleep(0.001)
`,
    );
    const supervisor = workshop.supervise(nobody, [], program);
    const pid = await firstPid(supervisor);
    supervisor.hangUp();
    await supervisor.shows('is not attached');
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await runs(pid)).toBe(true);
  });
});

describe('signals', () => {
  test('to the supervisor are for the program, and its exit code is the supervisor’s', async () => {
    const supervisor = workshop.supervise(nobody, [], workshop.program('listener.py', listener), '7');
    const pid = await firstPid(supervisor);
    for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) {
      supervisor.signal(signal);
      await supervisor.shows(`got ${signal}`);
    }
    supervisor.signal('SIGTERM');
    const { code, stdout } = await supervisor.ended();
    expect(stdout).toMatch(/got SIGTERM\nfinished\n$/);
    expect(code).toBe(7);
    expect(await runs(pid)).toBe(false);
  });

  test('a program that does not end in time is killed', async () => {
    const program = workshop.program('stubborn.py', stubborn);
    const supervisor = workshop.supervise(nobody, ['--stop-timeout', '500ms'], program);
    const pid = await firstPid(supervisor);
    const begun = performance.now();
    supervisor.signal('SIGTERM');
    expect((await supervisor.ended()).code).toBe(137);
    expect(performance.now() - begun).toBeGreaterThanOrEqual(490);
    expect(await runs(pid)).toBe(false);
  });

  test('a second one kills at once', async () => {
    const program = workshop.program('stubborn.py', stubborn);
    const supervisor = workshop.supervise(nobody, ['--stop-timeout', '1m'], program);
    const pid = await firstPid(supervisor);
    supervisor.signal('SIGTERM');
    await supervisor.shows('is ended (SIGTERM)');
    expect(await runs(pid)).toBe(true);
    supervisor.signal('SIGTERM');
    expect((await supervisor.ended()).code).toBe(137);
    expect(await runs(pid)).toBe(false);
  });
});

describe('a supervisor that was killed', () => {
  const kept = () => ['--pid-file', workshop.path('pid'), '--token-file', workshop.path('token')];

  test('leaves a program that the next one ends first, and the agent stays the same', async () => {
    const program = workshop.program('sleeper.py', sleeper);
    let first: CliProcess | undefined;
    post = await Watchpost.start((server) => {
      first = workshop.supervise(server, kept(), program);
    });
    if (first === undefined) throw new Error('not started');
    await post.running();
    const old = await firstPid(first);
    await first.stop();
    expect(await runs(old), 'nothing in Node can end it with its parent').toBe(true);

    const second = workshop.supervise(post.server.address, kept(), program);
    await second.shows(`still runs under a supervisor that is gone (pid ${old})`);
    expect(await firstPid(second)).not.toBe(old);
    expect(await runs(old)).toBe(false);
    await post.again();
    const [before, after] = post.server.registrations;
    expect(before?.token).toBeUndefined();
    expect(after).toMatchObject({ token: 'token-1', request: { agentId: 'made-1' } });
  });

  test('while it runs, no other one runs the program too', async () => {
    const program = workshop.program('sleeper.py', sleeper);
    const first = workshop.supervise(nobody, kept(), program);
    await firstPid(first);
    const { code, stderr, stdout } = await workshop.supervise(nobody, kept(), program).ended();
    expect(code).toBe(1);
    expect(stderr).toMatch(/of a supervisor that runs \(pid \d+\)/);
    expect(stdout).toBe('');
  });
});

describe('the service sees', () => {
  test('how the program is, how it ended and what it said last', async () => {
    const program = workshop.program('crasher.py', crasher);
    let supervisor: CliProcess | undefined;
    post = await Watchpost.start((server) => {
      supervisor = workshop.supervise(server, ['--id', 'c-1', '--backoff-min', '30s'], program);
    });
    const process = await post.process(({ exits }) => exits.length === 1, 'an exit');
    expect(process).toMatchObject({ state: ProcessState.BACKOFF, pid: 0, starts: 1 });
    expect(Number(process.restartIn?.seconds)).toBeGreaterThan(20);
    const [exit] = process.exits;
    expect(exit).toMatchObject({ start: 1, exitCode: 1, signal: '', requested: false });
    expect(Number(exit?.ran?.seconds) * 1e9 + Number(exit?.ran?.nanos)).toBeGreaterThan(0.2e9);
    expect(exit?.lastLines).toContain('all is well');
    expect(exit?.lastLines.at(-1)).toBe('RuntimeError: the disk is full');
    expect((await post.report()).activity).toBe('backoff');
    expect(post.server.registrations[0]?.request).toMatchObject({
      agentId: 'c-1',
      spec: { kind: 'python3' },
    });
    supervisor?.signal('SIGTERM');
    const goodbye = await post.session.nextFrame('leave');
    expect(goodbye.frame.value).toMatchObject({ reason: 'the supervisor got SIGTERM' });
    post.session.stored(goodbye.frameId);
    expect((await supervisor?.ended())?.code).toBe(1);
  });

  test('what the whole process tree uses', async () => {
    const program = workshop.program(
      'burner.py',
      `
import os, subprocess, sys, time
print("pid", os.getpid())
burn = "import time\\nend = time.time() + 12\\nblock = bytearray(30_000_000)\\nwhile time.time() < end: pass"
subprocess.run([sys.executable, "-c", burn])
`,
    );
    post = await Watchpost.start((server) => {
      workshop.supervise(server, [], program);
    });
    const { usage } = await until(
      () => (post as Watchpost).report(),
      ({ usage: used }) => (used.cpu_milli ?? 0n) > 250n,
      { what: 'a busy CPU', timeoutMs: 15_000, everyMs: 200 },
    );
    expect(usage.cpu_milli).toBeLessThan(2_000n);
    expect(usage.memory_bytes).toBeGreaterThan(35_000_000n);
    expect(usage.memory_bytes).toBeLessThan(300_000_000n);
  });
});

test('a reader that reads no more holds up the program, not the supervisor', async () => {
  const program = workshop.program(
    'flood.py',
    `
import os, sys
print("pid", os.getpid(), file=sys.stderr, flush=True)
while True: print("x" * 1000)
`,
  );
  let stuck: CliProcess | undefined;
  post = await Watchpost.start((server) => {
    stuck = workshop.supervise(server, ['--id', 'stuck', '--stop-timeout', '1s'], program);
    stuck.stopReading();
  });
  const { pid } = await post.running();
  await new Promise((resolve) => setTimeout(resolve, 1_500)); // all buffers are full by now
  expect((await post.report()).process).toMatchObject({ state: ProcessState.RUNNING, pid });
  stuck?.signal('SIGTERM');
  const goodbye = await post.session.nextFrame('leave');
  post.session.stored(goodbye.frameId);
  expect(await stuck?.exited).toBe(143);
  expect(await runs(pid)).toBe(false);
});

describe('orders', () => {
  let supervisor: CliProcess;
  async function supervised(options: string[], name: string, source: string, ...args: string[]) {
    const program = workshop.program(name, source);
    post = await Watchpost.start((server) => {
      supervisor = workshop.supervise(server, ['--id', 'mine', ...options], program, ...args);
    });
    await post.running();
    const pid = await firstPid(supervisor);
    return { post, pid };
  }

  test('restart: another process, and nothing is said of a crash', async () => {
    const { post: it, pid } = await supervised([], 'listener.py', listener, '3');
    const updates = await it.order('restart', { reason: 'new version', agent_id: 'mine', attempt: 1 });
    expect(states(updates)).toEqual([State.ACCEPTED, State.SUCCEEDED]);
    const process = await it.running(2);
    expect(process.pid).not.toBe(pid);
    expect(process.exits).toMatchObject([{ start: 1, exitCode: 3, requested: true }]);
    expect(updates.at(-1)?.output?.data.value).toMatchObject({
      kind: { value: { fields: { pid: { kind: { value: process.pid } }, starts: { kind: { value: 2 } } } } },
    });
    expect(await runs(pid)).toBe(false);
  });

  test('restart of an agent that it does not run is declined, as is what it does not know', async () => {
    const { post: it, pid } = await supervised(['--program-agent', 'inner'], 'sleeper.py', sleeper);
    expect(await it.order('restart', { agent_id: 'other' })).toMatchObject([
      { state: State.DECLINED, error: 'this supervisor runs python3, and knows no agent other' },
    ]);
    expect(states(await it.order('polish'))).toEqual([State.DECLINED]);
    expect(states(await it.order('dependency_lost', { agent_id: 'db' }))).toEqual([State.SUCCEEDED]);
    expect(await runs(pid)).toBe(true);
    expect(states(await it.order('restart', { agent_id: 'inner' })).at(-1)).toBe(State.SUCCEEDED);
  });

  test('drain: the program finishes, then it is drained, and stays down until it is resumed', async () => {
    const { post: it, pid } = await supervised([], 'listener.py', listener, '0', '0.5');
    const updates = await it.order('drain', { reason: 'maintenance' });
    expect(updates).toMatchObject([
      { state: State.ACCEPTED, running: [`python3 (pid ${pid})`] },
      { state: State.SUCCEEDED },
    ]);
    expect(supervisor.stdout).toContain('got SIGTERM\nfinished\n');
    expect(await runs(pid)).toBe(false);
    const down = await it.process(({ state }) => state === ProcessState.STOPPED, 'the program down');
    expect(down.exits).toMatchObject([{ exitCode: 0, requested: true }]);
    expect(states(await it.order('restart'))).toEqual([State.ACCEPTED, State.FAILED]);
    expect(states(await it.order('resume'))).toEqual([State.SUCCEEDED]);
    await it.running(2);
  });

  test('quarantine: the program runs on, and is not started again after it has ended', async () => {
    const { post: it, pid } = await supervised(['--backoff-min', '100ms'], 'sleeper.py', sleeper);
    expect(states(await it.order('quarantine', { reason: 'flapping' }))).toEqual([State.SUCCEEDED]);
    expect(await runs(pid)).toBe(true);
    process.kill(pid, 'SIGKILL');
    const down = await it.process(({ state }) => state === ProcessState.STOPPED, 'the program down');
    expect(down.exits).toMatchObject([{ signal: 'SIGKILL', requested: false }]);
    await supervisor.shows('and stays down (quarantine)');
    expect(states(await it.order('resume'))).toEqual([State.SUCCEEDED]);
    await it.running(2);
  });

  test('a hold outlives the supervisor, if it has a pid file', async () => {
    const options = ['--pid-file', workshop.path('pid')];
    const { post: it } = await supervised(options, 'sleeper.py', sleeper);
    await it.order('drain');
    await supervisor.stop();
    const next = workshop.supervise(
      it.server.address,
      ['--id', 'mine', ...options],
      workshop.path('sleeper.py'),
    );
    await next.shows('is held down (drain) since before');
    await it.again();
    expect((await it.report()).process).toMatchObject({ state: ProcessState.STOPPED, starts: 0 });
    expect(states(await it.order('resume'))).toEqual([State.SUCCEEDED]);
    await it.running(1);
  });

  test('a lost dependency stops the program where that is wanted, and its return starts it', async () => {
    const { post: it, pid } = await supervised(['--on-dependency-lost', 'stop-child'], 'sleeper.py', sleeper);
    expect(states(await it.order('dependency_lost', { agent_id: 'db' })).at(-1)).toBe(State.SUCCEEDED);
    expect(await runs(pid)).toBe(false);
    expect(states(await it.order('dependency_recovered', { agent_id: 'db' }))).toEqual([State.SUCCEEDED]);
    await it.running(2);
  });

  test('stop: the program ends, the agent says goodbye and the supervisor ends with 0', async () => {
    const { post: it, pid } = await supervised([], 'listener.py', listener, '5');
    const updates = await it.order('stop', { reason: 'end of season' });
    expect(updates).toMatchObject([
      { state: State.ACCEPTED, running: [`python3 (pid ${pid})`] },
      { state: State.SUCCEEDED },
    ]);
    const goodbye = await it.session.nextFrame('leave');
    expect(goodbye.frame.value).toMatchObject({ reason: 'told to stop: end of season' });
    it.session.stored(goodbye.frameId);
    expect((await supervisor.ended()).code).toBe(0);
    expect(await runs(pid)).toBe(false);
  });
});
