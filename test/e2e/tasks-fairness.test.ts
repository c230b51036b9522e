import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { strain } from '../support/faults/strain.ts';
import { Stack, storeKinds } from '../support/stack.ts';
import { type Given, RawFleet } from '../support/tasks/raw-fleet.ts';
import { pause, until } from '../support/until.ts';

/** Waiting counts soon, and something large is kept room for soon. */
const env = { ORCHESTRATOR_TASKS_AGING: '100ms', ORCHESTRATOR_TASKS_RESERVE_AFTER: '300ms' };
const TASKS = 360;
const WORK_MS = 15;

describe.each(storeKinds)('who comes next on %s', (kind) => {
  let stack: Stack;
  let fleet: RawFleet;
  let begun: string[];

  /** Each test has one of its own. */
  let namespace: string;
  let tests = 0;

  beforeAll(async () => {
    stack = await Stack.start(kind, { env });
  });
  afterAll(() => stack?.dispose());
  beforeEach(() => {
    begun = [];
    namespace = `n${tests++}`;
    fleet = new RawFleet({ address: stack.service.grpc, namespace, onTask: work(WORK_MS) });
  });
  afterEach(() => fleet?.close());

  const work =
    (ms: number) =>
    ({ agent, work: given, task }: Given): void => {
      begun.push(task.id);
      void agent.accept(given);
      setTimeout(() => void agent.succeed(given), ms);
    };
  const capable = (slots: bigint) => ({ capabilities: [{ name: 'sum' }], capacity: { slots } });

  it('two owners with weights 3 and 1 get three and one of four, while both have something that waits', async () => {
    for (const [owner, weight] of [
      ['ann', 3],
      ['bob', 1],
    ] as const) {
      await stack.clients.resources.updateQuota({ quota: { namespace, owner, weight } });
    }
    const tasks = Array.from({ length: TASKS }, (_, index) => {
      const owner = index % 2 === 0 ? 'ann' : 'bob';
      return { taskId: `${owner}-${index}`, spec: { capability: 'sum', labels: { owner } } };
    });
    await stack.clients.tasks.batchSubmitTasks({ namespace, tasks });
    const agents = Array.from({ length: 4 }, (_, index) => ({ id: `a${index}`, spec: capable(2n) }));
    await fleet.join(agents);
    // Ann's are all begun when two thirds of all are; after that bob has everything.
    const both = (TASKS / 2 / 3) * 4;
    const what = 'the tasks to begin';
    await until(
      () => begun.length,
      (count) => count >= both,
      { what, timeoutMs: 30_000 },
    );
    const compared = begun.slice(0, both - 20);
    const anns = compared.filter((id) => id.startsWith('ann')).length / compared.length;
    expect(anns).toBeGreaterThan(0.75 * 0.95);
    expect(anns).toBeLessThan(0.75 * 1.05);
  });

  it('a task of low priority begins although more of high priority come all the time', async () => {
    await fleet.join([{ id: 'a1', spec: capable(1n) }]);
    let count = 0;
    const high = async (): Promise<void> => {
      count += 1;
      const spec = { capability: 'sum', priority: 5 };
      await stack.clients.tasks.submitTask({ namespace, taskId: `high-${count}`, spec });
    };
    for (let index = 0; index < 5; index += 1) await high();
    await stack.clients.tasks.submitTask({
      namespace,
      taskId: 'low',
      spec: { capability: 'sum', priority: -5 },
    });
    const fromMs = performance.now();
    while (!begun.includes('low') && performance.now() < fromMs + 10_000) {
      // There are always some that wait.
      if (count - begun.length < 5) await high();
      else await pause(2);
    }
    const waitedMs = performance.now() - fromMs;
    expect(begun).toContain('low');
    // Ten levels of 100 ms each: it came after those that were there before, and not only at the end.
    expect(waitedMs).toBeGreaterThan(500);
    expect(waitedMs).toBeLessThan(4_000 * strain());
    expect(begun.indexOf('low')).toBeGreaterThan(10 / strain());
  });

  it('a large task begins although small ones take every place that is free', async () => {
    await fleet.join([{ id: 'a1', spec: capable(4n) }]);
    let count = 0;
    let stopped = false;
    const small = async (): Promise<void> => {
      while (!stopped) {
        count += 1;
        if (count - begun.length < 12) {
          await stack.clients.tasks.submitTask({
            namespace,
            taskId: `small-${count}`,
            spec: { capability: 'sum' },
          });
        } else await pause(2);
      }
    };
    const flood = small();
    try {
      await until(
        () => begun.length,
        (length) => length > 20,
        { what: 'small tasks' },
      );
      const spec = { capability: 'sum', resources: { slots: 4n } };
      await stack.clients.tasks.submitTask({ namespace, taskId: 'large', spec });
      const what = 'the large task to begin';
      await until(() => begun.includes('large'), Boolean, { what, timeoutMs: 5_000 });
    } finally {
      stopped = true;
      await flood;
    }
  });
});
