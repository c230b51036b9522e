import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { decodeQuota, encodeQuota, quotaKey } from '../../../../src/domain/resource/quotas/quota-record.ts';
import { wanting } from '../../../../src/domain/resource/quotas/quota-rules.ts';
import { durationFromMs } from '../../../../src/lib/proto-time.ts';
import { startResources, type TestResources } from '../resource-fixture.ts';

let fleet: TestResources;
beforeEach(async () => {
  fleet = await startResources();
  await fleet.worker('w1', { cpu: 100n });
  await fleet.round();
});
afterEach(() => fleet.stop());

const owned = { labels: { owner: 'ann' } };
const events = (type: string) => fleet.events().filter((event) => event.type === type);
const stored = async (owner = 'ann') => {
  const entry = await fleet.store.get('default', quotaKey(owner));
  return { record: entry && decodeQuota(entry.value), revision: entry?.revision ?? 0n };
};

describe('a quota', () => {
  it('limits what is granted, and tells what of it is taken', async () => {
    await fleet.setQuota({ owner: 'ann', hard: { cpu: 5n }, weight: 2 });
    await fleet.ask({ ...owned, resources: { cpu: 4n } });
    await expect(fleet.ask({ ...owned, resources: { cpu: 2n } })).rejects.toMatchObject({
      reason: ErrorReason.NO_ROOM,
      metadata: { reason: 'QUOTA' },
    });
    expect(fleet.quota()).toMatchObject({ owner: 'ann', reserved: { cpu: 4n }, weight: 2, actor: 'ann' });
    await expect(fleet.ask({ resources: { cpu: 2n } })).resolves.toBeDefined();
  });

  it('is not set below what is taken; nothing is changed then, and the limit in between is forgotten', async () => {
    await fleet.setQuota({ owner: 'ann', hard: { cpu: 10n } });
    await fleet.ask({ ...owned, resources: { cpu: 6n } });
    await expect(fleet.setQuota({ owner: 'ann', hard: { cpu: 5n } })).rejects.toMatchObject({
      reason: ErrorReason.QUOTA_IN_USE,
      message: '6 cpu are reserved or spent, more than the new limit of 5 in the quota of owner ann',
      metadata: { owner: 'ann', resource: 'cpu', used: '6', limit: '5' },
    });
    expect(fleet.quota()?.hard).toEqual({ cpu: 10n });
    await expect(fleet.ask({ ...owned, resources: { cpu: 4n } })).resolves.toBeDefined();
    await fleet.setQuota({ owner: 'bob', hard: { cpu: 1n } });
    await expect(fleet.setQuota({ owner: '', hard: { cpu: 9n } })).rejects.toMatchObject({
      reason: ErrorReason.QUOTA_IN_USE,
    });
    expect(() => fleet.quota('')).toThrow('namespace default has no quota');
    expect(await stored('')).toEqual({ record: undefined, revision: 0n });
  });

  it('lets nothing more be granted while it is being lowered', async () => {
    await fleet.setQuota({ owner: 'ann', hard: { cpu: 10n } });
    const { record, revision } = await stored();
    const wanted = { ...record?.quota, hard: { cpu: 3n } } as NonNullable<typeof record>['quota'];
    if (record === undefined || wanted === undefined) throw new Error('there is no quota');
    const nowMs = await fleet.store.now();
    const value = encodeQuota(wanting(record, wanted, { revision, nowMs }));
    await fleet.store.commit({ namespace: 'default', puts: [{ key: quotaKey('ann'), value }] });
    await expect(fleet.ask({ ...owned, resources: { cpu: 4n } })).rejects.toMatchObject({
      reason: ErrorReason.NO_ROOM,
    });
    // Whoever wanted it is gone: it is finished in its place.
    await fleet.pass(6000);
    await fleet.round();
    expect((await stored()).record).toMatchObject({ quota: { hard: { cpu: 3n } } });
    expect((await stored()).record?.wanted).toBeUndefined();
  });

  it('has the revision of its last change, whatever is spent meanwhile', async () => {
    const first = await fleet.setQuota({ owner: 'ann', budgets: [{ name: 'tokens', limit: 10n }] });
    const { revision } = first.quota ?? { revision: 0n };
    expect(revision).toBeGreaterThan(0n);
    await fleet.ask({ ...owned, budgets: { tokens: 4n } }, { allocationId: 'one' });
    await fleet.release('one', { spent: { tokens: 4n } });
    await fleet.round();
    expect(fleet.quota()).toMatchObject({ revision, budgets: [{ spent: 4n, reserved: 0n }] });
    const budgets = [{ name: 'tokens', limit: 20n }];
    await expect(fleet.setQuota({ owner: 'ann', budgets }, { expectedRevision: 1n })).rejects.toMatchObject({
      reason: ErrorReason.REVISION_MISMATCH,
      metadata: { current_revision: `${revision}` },
    });
    const second = await fleet.setQuota(
      { owner: 'ann', budgets },
      { expectedRevision: revision, requestId: 'r' },
    );
    expect(second.quota?.budgets[0]).toMatchObject({ limit: 20n, spent: 4n });
    const again = await fleet.setQuota(
      { owner: 'ann', budgets },
      { expectedRevision: revision, requestId: 'r' },
    );
    expect(again.quota?.revision).toBe(second.quota?.revision);
    await expect(fleet.setQuota({ owner: 'bob' }, { expectedRevision: 7n })).rejects.toThrow(
      'does not exist',
    );
  });

  it('forgets what was spent when it is told to, and never a budget of which something is reserved', async () => {
    await fleet.setQuota({ owner: 'ann', budgets: [{ name: 'tokens', limit: 10n }] });
    await fleet.ask({ ...owned, budgets: { tokens: 8n } }, { allocationId: 'one' });
    await fleet.release('one', { spent: { tokens: 8n } });
    await fleet.round();
    const lower = { owner: 'ann', budgets: [{ name: 'tokens', limit: 5n }] };
    await expect(fleet.setQuota(lower)).rejects.toMatchObject({ metadata: { used: '8', limit: '5' } });
    expect((await fleet.setQuota(lower, { resetSpent: true })).quota?.budgets[0]).toMatchObject({
      spent: 0n,
    });
    await fleet.ask({ ...owned, budgets: { tokens: 1n } }, { allocationId: 'two' });
    await expect(fleet.setQuota({ owner: 'ann' })).rejects.toThrow('cannot be removed now');
    await expect(fleet.deleteQuota('ann')).rejects.toMatchObject({ reason: ErrorReason.QUOTA_IN_USE });
    expect((await stored()).record?.removalWanted).toBe(false);
    await fleet.release('two');
    await fleet.round();
    expect((await fleet.deleteQuota('ann', { requestId: 'r' })).revision).toBeGreaterThan(0n);
    expect((await fleet.deleteQuota('ann', { requestId: 'r' })).revision).toBeGreaterThan(0n);
    await expect(fleet.deleteQuota('ann')).rejects.toMatchObject({ reason: ErrorReason.QUOTA_NOT_FOUND });
    expect(events('quota.removed')).toHaveLength(1);
  });

  it('begins its budgets anew with each period', async () => {
    const period = durationFromMs(60_000);
    await fleet.setQuota({ owner: 'ann', budgets: [{ name: 'calls', limit: 10n, period }] });
    await fleet.ask({ ...owned, budgets: { calls: 10n } }, { allocationId: 'one' });
    await fleet.release('one', { spent: { calls: 10n } });
    await fleet.round();
    const spent = fleet.quota()?.budgets[0];
    expect(spent).toMatchObject({ spent: 10n });
    const waits = fleet.ask(
      { ...owned, budgets: { calls: 1n } },
      { allocationId: 'two', wait: durationFromMs(120_000) },
    );
    const endMs = Number(spent?.periodEndTime?.seconds ?? 0n) * 1000;
    await fleet.pass(endMs - (await fleet.store.now()) + 200);
    await fleet.round();
    await waits;
    expect(fleet.quota()?.budgets[0]).toMatchObject({ spent: 0n, reserved: 1n });
  });

  it('tells once that a budget is nearly spent, once that it is, and when a soft limit is passed', async () => {
    await fleet.setQuota({ owner: 'ann', budgets: [{ name: 'tokens', limit: 10n }], soft: { cpu: 1n } });
    const spend = async (id: string, tokens: bigint) => {
      await fleet.ask({ ...owned, budgets: { tokens } }, { allocationId: id });
      await fleet.release(id, { spent: { tokens } });
      await fleet.round();
    };
    await spend('a', 8n);
    expect(events('budget.low')).toEqual([]);
    await spend('b', 1n);
    expect(events('budget.low')).toMatchObject([{ attributes: { owner: 'ann', spent: '9', limit: '10' } }]);
    await spend('c', 1n);
    expect(events('budget.low')).toHaveLength(1);
    expect(events('budget.spent')).toHaveLength(1);
    await fleet.ask({ ...owned, resources: { cpu: 2n } });
    await fleet.round();
    await fleet.round();
    expect(events('quota.soft_exceeded')).toMatchObject([{ attributes: { resource: 'cpu', reserved: '2' } }]);
  });
});
