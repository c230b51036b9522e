import { create, type MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { QuotaSchema } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { QuotaRecordSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { type AccountHold, Accounts } from '../../../../src/domain/resource/accounts/accounts.ts';
import { durationFromMs } from '../../../../src/lib/proto-time.ts';

type QuotaInit = Exclude<MessageInitShape<typeof QuotaSchema>, { $typeName: string }>;
const record = (quota: QuotaInit, more: object = {}) =>
  create(QuotaRecordSchema, { format: 1, quota, ...more });
const hold = (more: Partial<AccountHold> = {}): AccountHold => ({
  ...{ owner: 'ann', resources: {}, tasks: 0, budgets: {} },
  ...more,
});
const NOW = 1_000_000;
const HOUR = 3_600_000;

describe('what an owner may have', () => {
  it('is limited by its own quota and by that of the namespace, its own being told first', () => {
    const accounts = new Accounts();
    accounts.setQuota('ann', record({ hard: { cpu: 5n } }), 1n);
    accounts.setQuota('', record({ hard: { cpu: 6n, tasks: 2n } }), 2n);
    accounts.hold('a', hold({ resources: { cpu: 4 }, tasks: 1 }));
    expect(accounts.admits(hold({ resources: { cpu: 1 }, tasks: 1 }), NOW)).toBeUndefined();
    expect(accounts.admits(hold({ resources: { cpu: 3 } }), NOW)).toMatchObject({
      ...{ owner: 'ann', resource: 'cpu', needed: 3n, used: 4n, limit: 5n, kind: 'quota' },
    });
    expect(accounts.admits(hold({ owner: 'bob', resources: { cpu: 3 } }), NOW)).toMatchObject({
      owner: '',
      used: 4n,
    });
    accounts.hold('b', hold({ owner: 'bob', tasks: 1 }));
    expect(accounts.admits(hold({ owner: '', tasks: 1 }), NOW)).toMatchObject({
      resource: 'tasks',
      limit: 2n,
    });
    expect(accounts.checks('ann')).toEqual([
      { key: 'quota/ann', revision: 1n },
      { key: 'quota/', revision: 2n },
    ]);
    expect(accounts.checks('bob')[0]).toEqual({ key: 'quota/bob', revision: 0n });
  });

  it('is bound by the lower of two limits while a change is wanted', () => {
    const accounts = new Accounts();
    const wanted = { hard: { cpu: 2n, gpu: 1n }, budgets: [{ name: 'tokens', limit: 5n }] };
    const quota = {
      hard: { cpu: 9n, disk: 1n },
      budgets: [
        { name: 'tokens', limit: 9n },
        { name: 'calls', limit: 9n },
      ],
    };
    accounts.setQuota('ann', record(quota, { wanted }), 1n);
    const limitOf = (more: Partial<AccountHold>) => accounts.admits(hold(more), NOW)?.limit;
    expect(limitOf({ resources: { cpu: 3 } })).toBe(2n);
    expect(limitOf({ resources: { gpu: 2 } })).toBe(1n);
    expect(limitOf({ resources: { disk: 2 } })).toBe(1n);
    expect(limitOf({ budgets: { tokens: 6 } })).toBe(5n);
    expect(limitOf({ budgets: { calls: 1 } })).toBe(0n);
    accounts.setQuota('ann', record(quota, { removalWanted: true }), 2n);
    expect(limitOf({ budgets: { tokens: 1 } })).toBe(0n);
  });

  it('counts what is spent in the present period, and what is reserved in every one', () => {
    const accounts = new Accounts();
    const budgets = [{ name: 'tokens', limit: 100n, spent: 90n, period: durationFromMs(HOUR) }];
    accounts.setQuota('ann', record({ budgets }, { periods: { tokens: 0n } }), 1n);
    accounts.hold('a', hold({ budgets: { tokens: 5 } }));
    expect(accounts.admits(hold({ budgets: { tokens: 6 } }), NOW)).toMatchObject({
      used: 95n,
      kind: 'budget',
    });
    expect(accounts.admits(hold({ budgets: { tokens: 5 } }), NOW)).toBeUndefined();
    const told: string[] = [];
    accounts.listen((owner) => told.push(owner));
    expect(accounts.nextPeriodMs(NOW)).toBe(HOUR);
    accounts.advance(HOUR - 1);
    expect(told).toEqual([]);
    accounts.advance(HOUR);
    expect(told).toEqual(['ann']);
    expect(accounts.admits(hold({ budgets: { tokens: 95 } }), HOUR)).toBeUndefined();
    expect(accounts.admits(hold({ budgets: { tokens: 96 } }), HOUR)).toMatchObject({ used: 5n });
    expect(accounts.quota('ann', HOUR)?.budgets[0]).toMatchObject({ spent: 0n, reserved: 5n });
    expect(accounts.nextPeriodMs(HOUR)).toBeUndefined();
  });

  it('says who may have more when something is given back, and nothing where no limit counts it', () => {
    const accounts = new Accounts();
    const told: string[] = [];
    accounts.setQuota('ann', record({ hard: { cpu: 5n } }), 1n);
    accounts.listen((owner) => told.push(owner));
    accounts.hold('a', hold({ resources: { cpu: 1, gpu: 1 } }));
    accounts.hold('b', hold({ resources: { gpu: 1 } }));
    expect(told).toEqual([]);
    accounts.free('b');
    expect(told).toEqual([]);
    accounts.free('a');
    accounts.free('a');
    expect(told).toEqual(['ann']);
  });

  it('says what is beyond a soft limit, whose weight it has and which budgets it knows', () => {
    const accounts = new Accounts();
    accounts.setQuota('ann', record({ soft: { tasks: 1n }, weight: 3 }), 1n);
    accounts.setQuota('', record({ soft: { tasks: 0n }, budgets: [{ name: 'tokens', limit: 1n }] }), 2n);
    accounts.hold('a', hold({ tasks: 1 }));
    expect(accounts.overSoft('ann')).toBe(false);
    accounts.hold('b', hold({ tasks: 1 }));
    expect(accounts.overSoft('ann')).toBe(true);
    expect([...accounts.softExceeded('')]).toEqual([{ resource: 'tasks', reserved: 2, limit: 0 }]);
    expect(accounts.overSoft('')).toBe(false);
    expect([accounts.weight('ann'), accounts.weight('bob')]).toEqual([3, 1]);
    expect(accounts.knowsBudget('ann', 'tokens')).toBe(true);
    expect(accounts.knowsBudget('ann', 'constructor')).toBe(false);
    expect(
      accounts.admits(hold({ owner: 'constructor', resources: { constructor: 1 } }), NOW),
    ).toBeUndefined();
  });
});

/** All that is held, added up anew each time. */
class NaiveAccounts {
  readonly holds = new Map<string, AccountHold>();
  readonly quotas = new Map<string, { hard: Record<string, number>; budgets: Record<string, number> }>();

  admits(wanted: AccountHold): boolean {
    return (wanted.owner === '' ? [''] : [wanted.owner, '']).every((party) => {
      const quota = this.quotas.get(party);
      if (quota === undefined) return true;
      const held = [...this.holds.values()].filter(({ owner }) => party === '' || owner === party);
      const sum = (of: (each: AccountHold) => number) => held.reduce((total, each) => total + of(each), 0);
      const fits = (needed: number, used: number, limit: number | undefined) =>
        limit === undefined || needed === 0 || used + needed <= limit;
      return (
        fits(
          wanted.tasks,
          sum((each) => each.tasks),
          quota.hard.tasks,
        ) &&
        ['cpu', 'gpu'].every((name) =>
          fits(
            wanted.resources[name] ?? 0,
            sum((each) => each.resources[name] ?? 0),
            quota.hard[name],
          ),
        ) &&
        fits(
          wanted.budgets.tokens ?? 0,
          sum((each) => each.budgets.tokens ?? 0),
          quota.budgets.tokens,
        )
      );
    });
  }
}

const owners = fc.constantFrom('', 'ann', 'bob');
const anyHold = fc.record({
  owner: owners,
  resources: fc.record({ cpu: fc.nat(4), gpu: fc.nat(4) }, { requiredKeys: [] }),
  tasks: fc.constantFrom(0 as const, 1 as const),
  budgets: fc.record({ tokens: fc.nat(4) }, { requiredKeys: [] }),
});
const anyQuota = fc.record({
  hard: fc.record({ cpu: fc.nat(12), gpu: fc.nat(12), tasks: fc.nat(5) }, { requiredKeys: [] }),
  budgets: fc.record({ tokens: fc.nat(12) }, { requiredKeys: [] }),
});
const anyStep = fc.oneof(
  fc.record({ kind: fc.constant('hold' as const), key: fc.nat(9), hold: anyHold }),
  fc.record({ kind: fc.constant('free' as const), key: fc.nat(9) }),
  fc.record({ kind: fc.constant('quota' as const), owner: owners, quota: anyQuota }),
  fc.record({ kind: fc.constant('remove' as const), owner: owners }),
);
const bigints = (amounts: Record<string, number | undefined>) =>
  Object.fromEntries(Object.entries(amounts).map(([name, amount]) => [name, BigInt(amount ?? 0)]));

describe('sums that are kept', () => {
  it('admit what adding everything up anew would, and tell of whatever becomes possible', () => {
    fc.assert(
      fc.property(
        fc.array(anyStep, { maxLength: 40 }),
        fc.array(anyHold, { minLength: 1, maxLength: 5 }),
        (steps, asks) => {
          const accounts = new Accounts();
          const naive = new NaiveAccounts();
          let told = new Set<string>();
          accounts.listen((owner) => told.add(owner));
          for (const step of steps) {
            const before = asks.map((ask) => naive.admits(ask as AccountHold));
            told = new Set();
            if (step.kind === 'hold') {
              accounts.hold(`${step.key}`, step.hold as AccountHold);
              naive.holds.set(`${step.key}`, step.hold as AccountHold);
            } else if (step.kind === 'free') {
              accounts.free(`${step.key}`);
              naive.holds.delete(`${step.key}`);
            } else if (step.kind === 'quota') {
              const { hard, budgets } = step.quota;
              const list = Object.entries(budgets).map(([name, limit]) => ({
                name,
                limit: BigInt(limit ?? 0),
              }));
              accounts.setQuota(step.owner, record({ hard: bigints(hard), budgets: list }), 1n);
              naive.quotas.set(
                step.owner,
                step.quota as { hard: Record<string, number>; budgets: Record<string, number> },
              );
            } else {
              accounts.removeQuota(step.owner);
              naive.quotas.delete(step.owner);
            }
            asks.forEach((ask, index) => {
              const isAdmitted = accounts.admits(ask as AccountHold, NOW) === undefined;
              expect(isAdmitted).toBe(naive.admits(ask as AccountHold));
              const isNew = isAdmitted && before[index] === false;
              if (isNew) expect(told.has(ask.owner) || told.has('')).toBe(true);
            });
          }
          for (let key = 0; key <= 9; key += 1) accounts.free(`${key}`);
          for (const owner of ['', 'ann', 'bob']) {
            for (const name of ['cpu', 'gpu', 'tasks']) expect(accounts.reserved(owner, name)).toBe(0);
            expect(accounts.reservedBudget(owner, 'tokens')).toBe(0);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
