import { create } from '@bufbuild/protobuf';
import {
  type QuotaHit,
  QuotaHitSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  type Quota,
  QuotaSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import {
  type QuotaRecord,
  QuotaRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Check } from '../../../state/store.ts';
import { int64Of } from '../amounts.ts';
import { QUOTA_FORMAT, quotaKey, quotaOf, specRevisionOf } from '../quotas/quota-record.ts';
import { Account, type AccountHold, type Shortage } from './account.ts';
import { periodEndMs, spentAt } from './limits.ts';

export type { AccountHold } from './account.ts';

/** A quota or budget that is used up; `kind` says which of both. */
export type AccountHit = QuotaHit & { readonly kind: Shortage['kind'] };

/** The account of the whole namespace: no owner has this name. */
const NAMESPACE = '';

/**
 * Who has how much of what quotas count, in one namespace: sums that are kept as holds come and go, so that no decision looks
 * at more than one owner's account and the namespace's. Pure memory; times are the store's clock.
 */
export class Accounts {
  readonly #accounts = new Map<string, Account>();
  readonly #holds = new Map<string, AccountHold>();
  readonly #listeners = new Set<(owner: string) => void>();
  /** When the next period ends, by owner. */
  readonly #periods = new Map<string, number>();

  /** @param revision of the record's entry */
  setQuota(owner: string, record: QuotaRecord, revision: bigint): void {
    this.#periods.delete(owner);
    this.#account(owner).set(record, revision);
    this.#tell(owner);
  }

  removeQuota(owner: string): void {
    const account = this.#accounts.get(owner);
    if (account === undefined) return;
    this.#periods.delete(owner);
    account.set(undefined, 0n);
    this.#tidy(owner, account);
    this.#tell(owner);
  }

  /** Idempotent by key: replaces what was held under it. */
  hold(key: string, hold: AccountHold): void {
    const before = this.#holds.get(key);
    if (before !== undefined && sameHold(before, hold)) return;
    this.#holds.set(key, hold);
    // First more, then less: nothing is ever forgotten on the way.
    for (const owner of partiesOf(hold.owner)) this.#account(owner).add(hold);
    if (before !== undefined) this.#subtract(before);
  }

  free(key: string): void {
    const before = this.#holds.get(key);
    if (before === undefined) return;
    this.#holds.delete(key);
    this.#subtract(before);
  }

  held(key: string): AccountHold | undefined {
    return this.#holds.get(key);
  }

  /** Whether something may be had now: undefined, or the first thing that is in the way, its owner's before the namespace's. */
  admits(hold: AccountHold, nowMs: number): AccountHit | undefined {
    for (const owner of partiesOf(hold.owner)) {
      const shortage = this.#accounts.get(owner)?.shortage(hold, nowMs);
      if (shortage !== undefined) return hitOf(owner, shortage);
    }
    return undefined;
  }

  /** Everything that is in the way. @param supposed quotas that are taken in place of those that are there, by owner */
  hits(hold: AccountHold, nowMs: number, supposed: ReadonlyMap<string, Quota> = new Map()): AccountHit[] {
    return partiesOf(hold.owner).flatMap((owner) => {
      const quota = supposed.get(owner);
      const account = this.#accounts.get(owner);
      const found =
        quota === undefined
          ? account?.shortages(hold, nowMs)
          : this.#supposedly(account, quota).shortages(hold, nowMs);
      return Array.from(found ?? [], (shortage) => hitOf(owner, shortage));
    });
  }

  /** Whether the owner's quota, or the namespace's, declares a budget of this name. */
  knowsBudget(owner: string, name: string): boolean {
    return partiesOf(owner).some((party) => this.#accounts.get(party)?.limits.budgets.has(name) === true);
  }

  /** Whether the owner has more than a soft limit of its own quota says: others that wait come first. */
  overSoft(owner: string): boolean {
    if (owner === NAMESPACE) return false;
    for (const _ of this.softExceeded(owner)) return true;
    return false;
  }

  /** The resources of which more is reserved than the owner's soft limit, or the namespace's. */
  softExceeded(owner: string): Iterable<{ resource: string; reserved: number; limit: number }> {
    return this.#accounts.get(owner)?.overSoft() ?? [];
  }

  /** Its share when owners compete, above 0. */
  weight(owner: string): number {
    return this.#accounts.get(owner)?.limits.weight ?? 1;
  }

  /** Checks for a commit that grants something: the keys of the quotas concerned with their revisions (0n: there is none). */
  checks(owner: string): Check[] {
    return partiesOf(owner).map((party) => ({
      key: quotaKey(party),
      revision: this.#accounts.get(party)?.revision ?? 0n,
    }));
  }

  /**
   * Told of each owner of whom something may fit now that did not before; '': of any owner, something of the namespace's quota
   * became free.
   */
  listen(listener: (owner: string) => void): void {
    this.#listeners.add(listener);
  }

  /** When the next period of a budget ends of which something was spent, milliseconds; undefined: none does. */
  nextPeriodMs(nowMs: number): number | undefined {
    let next: number | undefined;
    for (const [owner, account] of this.#accounts) {
      const ends = this.#periods.get(owner) ?? account.nextPeriodMs(nowMs);
      if (ends === undefined) continue;
      this.#periods.set(owner, ends);
      next = Math.min(next ?? ends, ends);
    }
    return next;
  }

  /** Time has passed: listeners are told of owners of whom a budget began anew. To be called at `nextPeriodMs`. */
  advance(nowMs: number): void {
    for (const [owner, ends] of [...this.#periods]) {
      if (ends > nowMs) continue;
      this.#periods.delete(owner);
      this.#tell(owner);
    }
  }

  /** As it is stored; undefined: the owner has no quota. */
  record(owner: string): QuotaRecord | undefined {
    return this.#accounts.get(owner)?.record;
  }

  /** Of the entry of the owner's quota; 0n: it has none. */
  revision(owner: string): bigint {
    return this.#accounts.get(owner)?.revision ?? 0n;
  }

  /** Owners that have a quota, in order; the namespace's '' first. */
  owners(): string[] {
    const owners = [...this.#accounts].filter(([, { record }]) => record?.quota !== undefined);
    return owners.map(([owner]) => owner).sort();
  }

  /** As callers see it, without its namespace; undefined: the owner has no quota. */
  quota(owner: string, nowMs: number): Quota | undefined {
    const account = this.#accounts.get(owner);
    // One that was never confirmed is none yet.
    if (account?.record?.quota === undefined) return undefined;
    return this.shown(owner, account.record, account.revision, nowMs);
  }

  /** A record as callers see it, with what the owner has now. @param revision of the record's entry */
  shown(owner: string, record: QuotaRecord, revision: bigint, nowMs: number): Quota {
    const account = (this.#accounts.get(owner) ?? new Account()).supposing(record);
    const quota = quotaOf(record);
    const names = new Set([...Object.keys(quota.hard), ...Object.keys(quota.soft)]);
    return create(QuotaSchema, {
      ...quota,
      owner,
      weight: account.limits.weight,
      reserved: Object.fromEntries(Array.from(names, (name) => [name, int64Of(account.reserved(name))])),
      revision: specRevisionOf(record, revision),
      budgets: quota.budgets.map((budget) => {
        const limit = account.limits.budgets.get(budget.name);
        const periodMs = limit?.periodMs;
        return {
          ...budget,
          spent: int64Of(limit === undefined ? 0 : spentAt(limit, nowMs)),
          reserved: int64Of(account.reservedBudget(budget.name)),
          ...(periodMs === undefined ? {} : { periodEndTime: timestampFromMs(periodEndMs(periodMs, nowMs)) }),
        };
      }),
    });
  }

  /** What of a resource (or "tasks") the owner has, or with '' the namespace. */
  reserved(owner: string, name: string): number {
    return this.#accounts.get(owner)?.reserved(name) ?? 0;
  }

  /** What of a budget is reserved and not yet settled. */
  reservedBudget(owner: string, name: string): number {
    return this.#accounts.get(owner)?.reservedBudget(name) ?? 0;
  }

  #supposedly(account: Account | undefined, quota: Quota): Account {
    const known = account?.record;
    const spent = new Map(
      (known === undefined ? [] : quotaOf(known).budgets).map((each) => [each.name, each]),
    );
    const record = create(QuotaRecordSchema, {
      format: QUOTA_FORMAT,
      periods: known?.periods ?? {},
      quota: {
        ...quota,
        budgets: quota.budgets.map((budget) => ({ ...budget, spent: spent.get(budget.name)?.spent ?? 0n })),
      },
    });
    return (account ?? new Account()).supposing(record);
  }

  #subtract(hold: AccountHold): void {
    for (const owner of partiesOf(hold.owner)) {
      const account = this.#accounts.get(owner);
      if (account === undefined) continue;
      account.subtract(hold);
      if (account.limitsAny(hold)) this.#tell(owner);
      else this.#tidy(owner, account);
    }
  }

  #account(owner: string): Account {
    const found = this.#accounts.get(owner);
    if (found !== undefined) return found;
    const made = new Account();
    this.#accounts.set(owner, made);
    return made;
  }

  #tidy(owner: string, account: Account): void {
    if (account.isEmpty()) this.#accounts.delete(owner);
  }

  #tell(owner: string): void {
    for (const listener of this.#listeners) listener(owner);
  }
}

const JUST_NAMESPACE: readonly string[] = [NAMESPACE];

/** Whose accounts a hold of this owner is in: its own first. */
function partiesOf(owner: string): readonly string[] {
  return owner === NAMESPACE ? JUST_NAMESPACE : [owner, NAMESPACE];
}

function hitOf(owner: string, { kind, resource, needed, used, limit }: Shortage): AccountHit {
  const hit = create(QuotaHitSchema, {
    owner,
    resource,
    needed: int64Of(needed),
    used: int64Of(used),
    limit: int64Of(limit),
  });
  return Object.assign(hit, { kind });
}

function sameHold(a: AccountHold, b: AccountHold): boolean {
  return (
    a.owner === b.owner &&
    a.tasks === b.tasks &&
    sameAmounts(a.resources, b.resources) &&
    sameAmounts(a.budgets, b.budgets)
  );
}

function sameAmounts(a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>): boolean {
  if (a === b) return true;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && a[name] === b[name])
  );
}
