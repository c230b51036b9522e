import { afterEach, describe, expect, it } from 'vitest';
import { AgentChange_Type } from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { AgentWatch } from '../support/agent-watch.ts';
import { failureOf } from '../support/clients.ts';
import { Stack, storeKinds } from '../support/stack.ts';

const logLimitBytes = 64 * 1024 * 1024;
const annotation = 'x'.repeat(4000);

describe.each(storeKinds)('a watch of agents on %s', (kind) => {
  let stack: Stack;
  afterEach(async () => {
    await stack?.dispose();
  });

  /** The revisions of changes, in the order heard. */
  const heard = (watch: AgentWatch) => watch.changes.map(({ agent }) => agent?.revision ?? 0n);

  async function changeSomething(count: number, prefix: string): Promise<bigint[]> {
    const { agents } = stack.clients;
    const revisions: bigint[] = [];
    for (let i = 0; i < count; i++) {
      const { agent } = await agents.registerAgent({ agentId: `${prefix}-${i}` });
      revisions.push(agent?.revision ?? 0n);
      const update = {
        agentId: `${prefix}-${i}`,
        spec: { version: `${i}` },
        updateMask: { paths: ['version'] },
      };
      revisions.push((await agents.updateAgent(update)).agent?.revision ?? 0n);
      if (i % 5 !== 0) continue;
      revisions.push((await agents.deregisterAgent({ agentId: `${prefix}-${i}` })).revision);
    }
    return revisions;
  }

  it('resumed with its cursor after a crash and restart misses nothing and repeats nothing', async () => {
    stack = await Stack.start(kind);
    const watch = await AgentWatch.open(stack.clients);
    const expected = await changeSomething(20, 'before');
    await watch.until(() => watch.changes.length >= expected.length / 2, 'half of the changes');
    await watch.close();
    expected.push(...(await changeSomething(20, 'while-away')));
    await stack.restart();
    const resumed = await AgentWatch.open(stack.clients, { cursor: watch.cursor });
    expected.push(...(await changeSomething(10, 'after')));
    await resumed.until(() => heard(resumed).at(-1) === expected.at(-1), 'the last change');
    expect([...heard(watch), ...heard(resumed)]).toEqual(expected);
    const removed = resumed.changes.filter(({ type }) => type === AgentChange_Type.REMOVED);
    expect(removed.length).toBeGreaterThanOrEqual(6);
    await resumed.close();
  });

  it('gets OUT_OF_RANGE for a cursor of another store epoch, and INVALID_ARGUMENT for garbage', async () => {
    stack = await Stack.start(kind);
    await changeSomething(3, 'old');
    const watch = await AgentWatch.open(stack.clients);
    const { cursor } = watch;
    await watch.close();
    const other = await Stack.start(kind);
    try {
      await other.clients.agents.registerAgent({ agentId: 'other' });
      const stale = new AgentWatch(other.clients, { cursor });
      expect(await failureOf(stale.ended.then((error) => Promise.reject(error)))).toMatchObject({
        code: 'OutOfRange',
        reason: 'CURSOR_EPOCH',
      });
      for (const garbage of ['garbage', '🦀', 'A'.repeat(5000), cursor.slice(0, -3)]) {
        const watching = new AgentWatch(other.clients, { cursor: garbage });
        const failure = await failureOf(watching.ended.then((error) => Promise.reject(error)));
        expect(failure, garbage.slice(0, 20)).toMatchObject({ code: 'InvalidArgument' });
      }
    } finally {
      await other.dispose();
    }
  });

  it('gets OUT_OF_RANGE for a cursor that the change log has left behind', async () => {
    stack = await Stack.start(kind);
    await changeSomething(1, 'first');
    const watch = await AgentWatch.open(stack.clients);
    const { cursor } = watch;
    await watch.close();
    const annotations = Object.fromEntries(Array.from({ length: 7 }, (_, i) => [`a${i}`, annotation]));
    const bytesEach = 7 * annotation.length;
    const count = Math.ceil((1.3 * logLimitBytes) / bytesEach);
    let next = 0;
    const lane = async () => {
      while (next < count) {
        const spec = { annotations, version: `${next++}` };
        await stack.clients.agents.registerAgent({ agentId: `big-${next % 50}`, spec });
      }
    };
    await Promise.all(Array.from({ length: 20 }, lane));
    const stale = new AgentWatch(stack.clients, { cursor });
    expect(await failureOf(stale.ended.then((error) => Promise.reject(error)))).toMatchObject({
      code: 'OutOfRange',
      reason: 'CURSOR_COMPACTED',
    });
    const fresh = await AgentWatch.open(stack.clients);
    expect(fresh.changes.length).toBeGreaterThanOrEqual(50);
    await fresh.close();
  });

  it('that reads too slowly is cut off with RESOURCE_EXHAUSTED and can resume from its last cursor', async () => {
    // The drain time-out is out of the way: past it the stream is reset, and nobody hears why.
    const env = { ORCHESTRATOR_LIMITS_WATCH_BUFFER: '100', ORCHESTRATOR_SESSION_DRAIN_TIMEOUT: '60s' };
    stack = await Stack.start(kind, { env });
    const stream = stack.clients.agents.watchAgents({})[Symbol.asyncIterator]();
    const seen: bigint[] = [];
    const first = await stream.next();
    let cursor = first.value?.cursor ?? '';
    const expected: bigint[] = [];
    let next = 0;
    const lane = async (agentId: string) => {
      while (next < 600) {
        const spec = { annotations: { note: annotation }, version: `${next++}` };
        const { agent } = await stack.clients.agents.registerAgent({ agentId, spec });
        expected.push(agent?.revision ?? 0n);
      }
    };
    await Promise.all(Array.from({ length: 10 }, (_, i) => lane(`busy-${i}`)));
    expected.sort((a, b) => Number(a - b));
    const failure = await failureOf(
      (async () => {
        for (let step = await stream.next(); step.done !== true; step = await stream.next()) {
          seen.push(...step.value.changes.map(({ agent }) => agent?.revision ?? 0n));
          if (step.value.cursor !== '') cursor = step.value.cursor;
        }
      })(),
    );
    expect(failure).toMatchObject({ code: 'ResourceExhausted', reason: 'SLOW_CONSUMER' });
    expect(seen.length).toBeLessThan(expected.length);
    const resumed = await AgentWatch.open(stack.clients, { cursor });
    await resumed.until(() => heard(resumed).at(-1) === expected.at(-1), 'the last change');
    expect([...seen, ...heard(resumed)]).toEqual(expected);
    await resumed.close();
  });
});
