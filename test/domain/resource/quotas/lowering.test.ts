import { describe, expect, it } from 'vitest';
import {
  allocationOf,
  decodeAllocation,
  isActive,
  isAllocationKey,
  specOf,
} from '../../../../src/domain/resource/allocations/allocation-record.ts';
import { decodeQuota, quotaKey, quotaOf } from '../../../../src/domain/resource/quotas/quota-record.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { MemoryStore } from '../../../support/memory-store.ts';
import { turns } from '../../agent/fleet-fixture.ts';
import { startResources } from '../resource-fixture.ts';

/** What is true of each revision of the store: no more is reserved of an owner than its confirmed quota allows. */
function watchOver(store: MemoryStore): { revisions: number; wrong: string[] } {
  const seen = { revisions: 0, wrong: [] as string[] };
  void store.follow({
    snapshot: () => {},
    live: () => {},
    batch: ({ namespace, revision }) => {
      const entries = store.data.namespaces.get(namespace)?.entries ?? new Map();
      const quota = entries.get(quotaKey('ann'));
      if (quota === undefined) return;
      seen.revisions += 1;
      let cpu = 0n;
      let tokens = 0n;
      for (const [key, { value }] of entries) {
        const record = isAllocationKey(key) ? decodeAllocation(value) : undefined;
        if (record === undefined) continue;
        if (isActive(record)) {
          cpu += specOf(record).resources.cpu ?? 0n;
          tokens += specOf(record).budgets.tokens ?? 0n;
        } else if (!record.settled) tokens += allocationOf(record).spent.tokens ?? 0n;
      }
      const { hard, budgets } = quotaOf(decodeQuota(quota.value));
      const limit = budgets[0]?.limit ?? 0n;
      const spent = budgets[0]?.spent ?? 0n;
      if (hard.cpu !== undefined && cpu > hard.cpu) seen.wrong.push(`${revision}: ${cpu} cpu of ${hard.cpu}`);
      if (tokens + spent > limit) seen.wrong.push(`${revision}: ${tokens} + ${spent} tokens of ${limit}`);
    },
  });
  return seen;
}

describe('two replicas', () => {
  it('never have more reserved than a quota allows, however it is changed while they reserve and give back', async () => {
    const clock = new FakeClock();
    const store = new MemoryStore({ wallMs: () => clock.wallMs() });
    const alive = { replicaAlive: () => true };
    const one = await startResources({ clock, store, replicaId: 'replica-1', ...alive });
    const two = await startResources({ clock, store, replicaId: 'replica-2', seed: 2, ...alive });
    const seen = watchOver(store);
    await one.worker('w1', { cpu: 1000n });
    await one.worker('w2', { cpu: 1000n });
    await one.round();
    const quota = (cpu: bigint, limit: bigint) => ({
      owner: 'ann',
      hard: { cpu },
      budgets: [{ name: 'tokens', limit }],
    });
    await two.setQuota(quota(60n, 60n));
    let state = 7;
    const random = (below: number): number => {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((state / 2_147_483_648) * below);
    };
    const held = new Set<string>();
    const outcomes = { granted: 0, refused: 0, set: 0, inUse: 0 };
    const step = async (index: number): Promise<void> => {
      const fleet = random(2) === 0 ? one : two;
      const amount = BigInt(1 + random(12));
      const kind = random(6);
      try {
        if (kind < 3) {
          const spec = { labels: { owner: 'ann' }, resources: { cpu: amount }, budgets: { tokens: amount } };
          const { allocation } = await fleet.ask(spec, { allocationId: `a${index}` });
          held.add(allocation?.id ?? '');
          outcomes.granted += 1;
        } else if (kind < 5) {
          const [id] = held;
          if (id === undefined) return;
          held.delete(id);
          await fleet.release(id, { spent: { tokens: BigInt(random(2)) } });
        } else {
          await fleet.setQuota(quota(BigInt(random(60)), 20n + BigInt(random(100))), {
            resetSpent: random(2) === 0,
          });
          outcomes.set += 1;
        }
      } catch (error) {
        if (kind < 3) outcomes.refused += 1;
        else if (kind === 5) outcomes.inUse += 1;
        else throw error;
      }
    };
    for (let round = 0; round < 40; round += 1) {
      await Promise.all(Array.from({ length: 6 }, (_, index) => step(round * 6 + index)));
      if (round % 8 === 7) await one.round();
      await turns(2);
    }
    for (const id of held) await one.release(id);
    await one.round();
    expect(seen.wrong).toEqual([]);
    // All four happened often enough to mean something.
    for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(3);
    expect(seen.revisions).toBeGreaterThan(100);
    const after = two.quota();
    expect(after?.reserved).toEqual({ cpu: 0n });
    expect(after?.budgets[0]?.reserved).toBe(0n);
    await two.stop();
    await one.stop();
  });
});
