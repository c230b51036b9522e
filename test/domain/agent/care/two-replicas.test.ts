import { afterEach, describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { CARE } from '../../../../src/domain/agent/care/care-records.ts';
import { LISTEN_MS } from '../../../../src/domain/agent/care/leases.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { MemoryStore } from '../../../support/memory-store.ts';
import type { TestFleet } from '../fleet-fixture.ts';
import { attachMany, cutOff, fleetsOf, live, recordingHook } from './care-fixture.ts';

const { LOST, DISCONNECTED } = Agent_Liveness;
const { start, stopAll } = fleetsOf();
afterEach(stopAll);

/** Two replicas on one store; `alive` says who is heard by the other. */
async function two(flags: Record<string, string> = {}) {
  const clock = new FakeClock();
  const store = new MemoryStore({ wallMs: () => clock.wallMs() });
  const alive = new Set(['r1', 'r2']);
  const hooks = [recordingHook(), recordingHook()] as const;
  const make = (replicaId: string, index: 0 | 1) =>
    start({
      store,
      clock,
      replicaId,
      replicaAlive: (id) => alive.has(id),
      lossHooks: [hooks[index]],
      seed: index + 1,
      flags: { 'brake.share': '1', ...flags },
    });
  return { store, clock, alive, hooks, r1: await make('r1', 0), r2: await make('r2', 1), make };
}

const holds = (fleet: TestFleet): boolean => fleet.care.fence('default') !== undefined;
const leaseOf = (fleet: TestFleet) => fleet.records.lease('default', CARE)?.record;

describe('losses of long ago whose work is kept for a while', () => {
  it('are no trouble of now on any replica', async () => {
    const { r1, r2, clock } = await two({ 'failures.release-after': '1h' });
    const members = await attachMany(r1, 4);
    await live([r1, r2], 1);
    cutOff(r1, members.slice(0, 2));
    await live([r1, r2], 35);
    expect([r1, r2].map((fleet) => fleet.troubles.everywhere().failing)).toEqual([2, 2]);
    for (let minute = 0; minute < 11; minute += 1) {
      clock.advance(60_000);
      await live([r1, r2], 1);
    }
    expect([r1, r2].map((fleet) => fleet.troubles.everywhere().failing)).toEqual([0, 0]);
  });
});

describe('the lease of care', () => {
  it('is with one replica, and changes hands when that one is gone for as long as it takes to be sure', async () => {
    const { r1, r2, alive } = await two();
    await r1.register('a1');
    await r1.tend();
    await r2.tend();
    expect([holds(r1), holds(r2)]).toEqual([true, false]);
    const commits = r1.store.commits.length;
    await live([r1, r2], 12);
    expect(r1.store.commits.length).toBe(commits);
    const token = leaseOf(r1)?.fencingToken ?? 0n;
    alive.delete('r1');
    await r2.tend();
    expect(holds(r2)).toBe(true);
    expect(leaseOf(r2)?.fencingToken).toBeGreaterThan(token);
    expect(leaseOf(r2)?.fencingToken).toBeGreaterThan(r2.store.status().epoch << 32n);
  });

  it('is not taken from a replica that a newcomer has not had the time to hear', async () => {
    const { r1, r2, alive } = await two();
    await r1.register('a1');
    await r1.tend();
    alive.delete('r1');
    await r2.tend();
    expect(holds(r2)).toBe(false);
    await live([r2], LISTEN_MS / 1000);
    expect(holds(r2)).toBe(true);
  });

  it('is not taken in a stall of its own, nor right after the store was away', async () => {
    const { r1, r2, alive, store } = await two();
    await r1.register('a1');
    await live([r1, r2], 8);
    alive.delete('r1');
    r2.stall(60_000);
    await r2.tend();
    expect(holds(r2)).toBe(false);
    store.faults.away = true;
    await r2.care.tick().catch(() => {});
    await r2.pass(60_000);
    store.faults.away = false;
    await r2.tend();
    expect(holds(r2)).toBe(false);
    await live([r2], 12);
    expect(holds(r2)).toBe(true);
  });

  it('is taken over at once from an earlier life of the same replica, and from one that has let go of it', async () => {
    const { r1, r2, clock, make } = await two();
    await r1.register('a1');
    await r1.tend();
    clock.advance(1000);
    const again = await make('r1', 0);
    await again.tend();
    expect([holds(r1), holds(again)]).toEqual([false, true]);
    const token = leaseOf(r2)?.fencingToken ?? 0n;
    await again.care.leave();
    await r2.tend();
    expect([holds(again), holds(r2)]).toEqual([false, true]);
    expect(leaseOf(r2)?.fencingToken).toBeGreaterThan(token);
  });

  it('issues no fencing token twice, also when the store fell back to before the last change of hands', async () => {
    const { r1, r2, alive, store } = await two();
    await r1.register('a1');
    await live([r1, r2], 11);
    const entries = store.data.namespaces.get('default')?.entries;
    const old = entries?.get('lease/care');
    const seen = [leaseOf(r1)?.fencingToken];
    alive.delete('r1');
    await r2.tend();
    seen.push(leaseOf(r2)?.fencingToken);
    if (old !== undefined) entries?.set('lease/care', old);
    store.promote();
    await r2.tend();
    seen.push(leaseOf(r2)?.fencingToken);
    expect(new Set(seen).size).toBe(3);
    expect(seen).toEqual([...seen].sort((a, b) => ((a ?? 0n) < (b ?? 0n) ? -1 : 1)));
  });
});

describe('a holder that was paused and replaced', () => {
  it('has its commits refused, so that nothing is done twice', async () => {
    const { r1, r2, alive, hooks, store } = await two();
    const members = await attachMany(r1, 3);
    await live([r1, r2], 11);
    const [first] = members;
    if (first === undefined) return;
    cutOff(r1, [first]);
    await r1.pass(29_000);
    await r1.settle();
    // r1 has asked its hooks, and stands still before its commit: r2 takes over meanwhile, and deals with the loss.
    store.faults.before = async (commit) => {
      if (commit.puts?.some(({ key }) => key.startsWith('released/')) !== true) return;
      store.faults.before = undefined;
      alive.delete('r1');
      await r2.care.tick();
    };
    await live([r1], 3);
    expect(hooks[0].taken).toEqual(['a0']);
    expect([holds(r1), holds(r2)]).toEqual([false, true]);
    // The new holder collects agents first; then it is its turn.
    expect(hooks[1].taken).toEqual([]);
    expect(r1.events('a0').filter(({ type }) => type === 'agent.loss_handled')).toEqual([]);
    await live([r2], 95);
    expect(hooks[1].taken).toEqual(['a0']);
    expect(r2.events('a0').filter(({ type }) => type === 'agent.loss_handled')).toHaveLength(1);
  });
});

describe('agents of a replica that died', () => {
  it('are judged by the holder of the lease alone, and by none that attached elsewhere', async () => {
    const { r1, r2, alive } = await two();
    const third = await start({
      store: r1.store,
      clock: r1.clock,
      replicaId: 'r3',
      replicaAlive: (id) => alive.has(id),
      seed: 3,
    });
    const members = await attachMany(r1, 6);
    await live([r1, r2, third], 12);
    await r1.stop();
    alive.delete('r1');
    for (const { id, token } of members.slice(0, 3)) await r2.attach(id, token, { answers: true });
    await live([r2, third], 3);
    expect(['a3', 'a4', 'a5'].map(r2.liveness)).toEqual([DISCONNECTED, DISCONNECTED, DISCONNECTED]);
    await live([r2, third], 100);
    expect(['a3', 'a4', 'a5'].map(r2.liveness)).toEqual([LOST, LOST, LOST]);
    for (const id of ['a3', 'a4', 'a5']) {
      const types = r2.types(id);
      expect(types.filter((type) => type === 'agent.disconnected')).toHaveLength(1);
      expect(types.filter((type) => type === 'agent.lost')).toHaveLength(1);
      // It was the replica's end, and no failure of theirs.
      expect(r2.record(id)?.failures).toEqual([]);
    }
    for (const id of ['a0', 'a1', 'a2']) expect(r2.types(id)).toEqual(['agent.connected', 'agent.connected']);
  });
});

describe('after the store was away, or is another one', () => {
  it('nothing is taken from an agent until there was time to come back', async () => {
    const { r1, hooks, store } = await two();
    const members = await attachMany(r1, 4);
    await r1.tend();
    cutOff(r1, members.slice(0, 1));
    await r1.pass(20_000);
    store.faults.away = true;
    await r1.care.tick().catch(() => {});
    await r1.pass(15_000);
    store.faults.away = false;
    await live([r1], 30);
    expect(r1.liveness('a0')).toBe(LOST);
    expect(hooks[0].taken).toEqual([]);
    store.promote();
    await live([r1], 58);
    expect(hooks[0].taken).toEqual([]);
    await live([r1], 40);
    expect(hooks[0].taken).toEqual(['a0']);
  });
});
