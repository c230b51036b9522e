import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { type Hold, Keeper, type KeeperEnd } from '../../src/supervisor/keeper.ts';
import type { RestartPolicy, RunEnd } from '../../src/supervisor/policy.ts';
import { CannotStart, type Run } from '../../src/supervisor/run.ts';

/** A run that ends when the test says so, or by a signal that it does not ignore. */
class FakeRun implements Run {
  readonly ended: Promise<RunEnd>;
  readonly signals: string[] = [];
  readonly pid: number;
  ignores: string[] = [];
  leftovers = false;
  #end: (end: RunEnd) => void = () => {};
  readonly #began = performance.now();

  constructor(pid: number) {
    this.pid = pid;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }
  exit(exitCode: number): void {
    this.#end({ exitCode, signal: '', ranMs: performance.now() - this.#began });
  }
  signal(signal: NodeJS.Signals): boolean {
    this.signals.push(signal);
    if (!this.ignores.includes(signal)) {
      this.#end({ exitCode: undefined, signal, ranMs: performance.now() - this.#began });
    }
    return true;
  }
  signalGroup(signal: NodeJS.Signals): boolean {
    this.signals.push(`group ${signal}`);
    if (signal === 'SIGKILL') {
      this.leftovers = false;
      this.#end({ exitCode: undefined, signal, ranMs: performance.now() - this.#began });
    }
    return true;
  }
  lines = () => [`line of ${this.pid}`];
  groupLives = async () => this.leftovers;
  finish = async () => true;
}

let runs: FakeRun[];
let keeper: Keeper;
let failing: CannotStart | undefined;
let changes: string[];
let end: KeeperEnd | undefined;
const run = (): FakeRun => {
  const last = runs.at(-1);
  if (last === undefined) throw new Error('nothing was started');
  return last;
};
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
function make(more: Partial<RestartPolicy> & { hold?: Hold; drainSignal?: NodeJS.Signals } = {}): Keeper {
  const { hold, drainSignal = 'SIGTERM', ...policy } = more;
  keeper = new Keeper({
    start: async () => {
      if (failing !== undefined) throw failing;
      runs.push(new FakeRun(100 + runs.length));
      return run();
    },
    policy: {
      when: 'on-failure',
      backoffMinMs: 1_000,
      backoffMaxMs: 8_000,
      resetAfterMs: 60_000,
      maxRestarts: 0,
      ...policy,
    },
    stopTimeoutMs: 10_000,
    drainSignal,
    hold,
    clock: systemClock,
    random: () => 0.5,
    onChange: () => changes.push(keeper.state.phase),
    note: () => {},
  });
  void keeper.done.then((how) => {
    end = how;
  });
  return keeper;
}
beforeEach(() => {
  vi.useFakeTimers();
  [runs, changes, failing, end] = [[], [], undefined, undefined];
});
afterEach(() => {
  expect(vi.getTimerCount(), 'timers left behind').toBe(0);
  vi.useRealTimers();
});

describe('a program that crashes', () => {
  test('is started again after a wait that grows, and each end is kept with its last lines', async () => {
    await make().begin();
    const starts: number[] = [];
    for (let crash = 0; crash < 6; crash++) {
      run().exit(3);
      await pass(0);
      expect(keeper.state).toMatchObject({ phase: 'backoff', pid: 0 });
      starts.push(Math.round(keeper.state.restartInMs ?? -1));
      await pass(starts.at(-1) ?? 0);
      expect(keeper.state).toMatchObject({ phase: 'running', starts: crash + 2 });
    }
    expect(starts).toEqual([1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
    expect(keeper.state.exits.map(({ start }) => start)).toEqual([3, 4, 5, 6]);
    expect(keeper.state.exits[0]).toMatchObject({ exitCode: 3, requested: false, lines: ['line of 102'] });
  });

  test('ends the supervision when no restart is left, with its exit code', async () => {
    await make({ maxRestarts: 1 }).begin();
    run().exit(3);
    await pass(1_000);
    run().exit(4);
    await pass(0);
    expect(end).toEqual({ why: 'restarts_used_up', exitCode: 4 });
  });

  test('is tried again when it cannot be started for a while', async () => {
    await make().begin();
    run().exit(1);
    failing = new CannotStart('cannot start it: no such program', 127);
    await pass(1_000);
    expect(keeper.state).toMatchObject({ phase: 'backoff', starts: 2 });
    expect(keeper.state.exits.at(-1)).toMatchObject({ exitCode: 127, lines: [failing.message] });
    failing = undefined;
    await pass(2_000);
    expect(keeper.state).toMatchObject({ phase: 'running', starts: 3 });
  });
});

test('a program that is done ends the supervision', async () => {
  await make().begin();
  run().exit(0);
  await pass(0);
  expect(end).toEqual({ why: 'finished', exitCode: 0 });
});

test('a program that cannot be started at all is told at once', async () => {
  failing = new CannotStart('no such program', 127);
  await expect(make().begin()).rejects.toBe(failing);
});

describe('restart', () => {
  test('ends the run, starts the next at once and tells its process', async () => {
    await make().begin();
    const restarted = keeper.restart();
    await pass(0);
    expect(await restarted).toEqual({ pid: 101, starts: 2 });
    expect(runs[0]?.signals).toEqual(['SIGTERM']);
    expect(keeper.state.exits).toMatchObject([{ signal: 'SIGTERM', requested: true }]);
    run().exit(1);
    await pass(0);
    expect(keeper.state.restartInMs, 'an order is no crash: the backoff begins here').toBe(1_000);
    await pass(1_000);
  });

  test('kills a run that does not end in time, with all of its group', async () => {
    await make().begin();
    run().ignores = ['SIGTERM'];
    const restarted = keeper.restart();
    await pass(9_999);
    expect(runs).toHaveLength(1);
    await pass(1);
    await restarted;
    expect(runs[0]?.signals).toEqual(['SIGTERM', 'group SIGKILL']);
    expect(keeper.state.exits).toMatchObject([{ signal: 'SIGKILL', requested: true }]);
  });

  test('does not wait for the backoff', async () => {
    await make().begin();
    run().exit(1);
    await pass(0);
    expect(await keeper.restart()).toEqual({ pid: 101, starts: 2 });
    await pass(5_000);
    expect(runs).toHaveLength(2);
  });

  test('is refused while the program is held down or stopped', async () => {
    await make().begin();
    const drained = keeper.drain();
    await pass(0);
    await drained;
    await expect(keeper.restart()).rejects.toThrow(/held down \(drain\): resume it first/);
    await keeper.stop({ signal: 'SIGTERM', timeoutMs: 1 });
    await expect(keeper.restart()).rejects.toThrow();
  });
});

describe('drain', () => {
  test('asks with its signal, waits as long as it takes, and the program stays down until it is resumed', async () => {
    await make({ drainSignal: 'SIGUSR1' }).begin();
    run().ignores = ['SIGUSR1'];
    let drained = false;
    void keeper.drain().then(() => {
      drained = true;
    });
    await pass(3_600_000);
    expect(runs[0]?.signals).toEqual(['SIGUSR1']);
    expect(drained).toBe(false);
    run().exit(0);
    await pass(0);
    expect(drained).toBe(true);
    expect(keeper.state).toMatchObject({ phase: 'stopped', hold: 'drain' });
    expect(end, 'to end when told to is not to be done').toBeUndefined();
    await pass(3_600_000);
    expect(runs).toHaveLength(1);
    await keeper.resume();
    expect(keeper.state).toMatchObject({ phase: 'running', hold: undefined, starts: 2 });
  });

  test('resumed before it has ended, the program is started again as soon as it has', async () => {
    await make().begin();
    run().ignores = ['SIGTERM'];
    const drained = keeper.drain();
    await pass(10);
    await keeper.resume();
    run().exit(0);
    await pass(0);
    await drained;
    expect(keeper.state).toMatchObject({ phase: 'running', starts: 2 });
  });

  test('of a program that waits for its restart is done at once', async () => {
    await make().begin();
    run().exit(1);
    await pass(0);
    await keeper.drain();
    expect(keeper.state.phase).toBe('stopped');
    await pass(10_000);
    expect(runs).toHaveLength(1);
  });
});

describe('quarantine', () => {
  test('lets the program run, and keeps it from being started once it has crashed', async () => {
    await make().begin();
    await keeper.quarantine(false);
    expect(run().signals).toEqual([]);
    run().exit(1);
    await pass(60_000);
    expect(keeper.state).toMatchObject({ phase: 'stopped', hold: 'quarantine' });
    await keeper.resume();
    run().exit(1);
    await pass(0);
    expect(keeper.state.restartInMs, 'the backoff begins anew').toBe(1_000);
    await pass(1_000);
  });

  test('cancels a restart that was planned', async () => {
    await make().begin();
    run().exit(1);
    await pass(500);
    await keeper.quarantine(false);
    await pass(60_000);
    expect(runs).toHaveLength(1);
  });

  test('ends the program where that is wanted', async () => {
    await make().begin();
    const done = keeper.quarantine(true);
    await pass(0);
    await done;
    expect(runs[0]?.signals).toEqual(['SIGTERM']);
    expect(keeper.state.phase).toBe('stopped');
  });
});

test('a lost dependency holds the program down until it is back, and lifts no other hold', async () => {
  await make().begin();
  const down = keeper.dependencyLost();
  await pass(0);
  await down;
  expect(keeper.state).toMatchObject({ phase: 'stopped', hold: 'dependency' });
  await keeper.dependencyRecovered();
  expect(keeper.state.phase).toBe('running');
  const drained = keeper.drain();
  await pass(0);
  await drained;
  await keeper.dependencyRecovered();
  expect(keeper.state.phase).toBe('stopped');
});

test('held down by the supervisor before, it is not started until it is resumed', async () => {
  await make({ hold: 'quarantine' }).begin();
  expect(runs).toEqual([]);
  expect(keeper.state.phase).toBe('stopped');
  await keeper.resume();
  expect(keeper.state.phase).toBe('running');
});

describe('stop', () => {
  test.each([
    [undefined, 143],
    [0, 0],
  ])('ends it for good, telling %s or the end of the program: %i', async (exitCode, told) => {
    await make().begin();
    const stopped = keeper.stop({
      signal: 'SIGTERM',
      timeoutMs: 5_000,
      ...(exitCode === undefined ? {} : { exitCode }),
    });
    await pass(0);
    await stopped;
    expect(end).toEqual({ why: 'told', exitCode: told });
    await pass(60_000);
    expect(runs).toHaveLength(1);
  });

  test('also while a restart is on its way', async () => {
    await make().begin();
    run().ignores = ['SIGTERM'];
    const refused = expect(keeper.restart()).rejects.toThrow(/being stopped/);
    await pass(0);
    const stopped = keeper.stop({ signal: 'SIGINT', timeoutMs: 5_000 });
    await pass(0);
    await Promise.all([refused, stopped]);
    expect(runs).toHaveLength(1);
  });
});

test('what the program left in its group is ended before the next run', async () => {
  await make().begin();
  run().leftovers = true;
  run().exit(1);
  await pass(9_900);
  expect(keeper.state.phase).toBe('running');
  await pass(200);
  expect(runs[0]?.signals).toEqual(['group SIGTERM', 'group SIGKILL']);
  expect(keeper.state.phase).toBe('backoff');
  await pass(1_000);
  expect(runs).toHaveLength(2);
});
