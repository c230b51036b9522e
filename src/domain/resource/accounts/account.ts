import type { QuotaRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { type Limits, limitsOf, periodEndMs, spentAt } from './limits.ts';
import { Sums } from './sums.ts';

/** Something that takes of quotas. */
export interface AccountHold {
  /** What its label "owner" says; empty: nobody, the namespace's quota alone binds. */
  owner: string;
  /** With slots. */
  resources: Readonly<Record<string, number>>;
  tasks: 0 | 1;
  /** Of the quotas: {} for what is held of a parent task. */
  budgets: Readonly<Record<string, number>>;
}

/** What stands in the way: the name of a resource, budget, or "tasks". */
export interface Shortage {
  kind: 'quota' | 'budget';
  resource: string;
  needed: number;
  used: number;
  limit: number;
}

/** In quotas the name for tasks that are assigned or run. */
export const TASKS = 'tasks';

const NO_LIMITS: Limits = {
  hard: new Map(),
  soft: new Map(),
  budgets: new Map(),
  wantedBudgets: new Map(),
  weight: 1,
};

/** What one owner, or the namespace, has and may have. */
export class Account {
  #resources = new Sums();
  #budgets = new Sums();
  #tasks = 0;
  #record: QuotaRecord | undefined;
  #revision = 0n;
  #limits = NO_LIMITS;

  get record(): QuotaRecord | undefined {
    return this.#record;
  }

  /** Of the quota's entry; 0n: there is none. */
  get revision(): bigint {
    return this.#revision;
  }

  get limits(): Limits {
    return this.#limits;
  }

  isEmpty(): boolean {
    const nothing = this.#tasks === 0 && this.#resources.isEmpty() && this.#budgets.isEmpty();
    return this.#record === undefined && nothing;
  }

  set(record: QuotaRecord | undefined, revision: bigint): void {
    this.#record = record;
    this.#revision = revision;
    this.#limits = record === undefined ? NO_LIMITS : limitsOf(record);
  }

  /** As it would stand with another quota; not to be kept. */
  supposing(record: QuotaRecord): Account {
    const account = new Account();
    account.#resources = this.#resources;
    account.#budgets = this.#budgets;
    account.#tasks = this.#tasks;
    account.set(record, this.#revision);
    return account;
  }

  add(hold: AccountHold): void {
    this.#tasks += hold.tasks;
    this.#resources.add(hold.resources);
    this.#budgets.add(hold.budgets);
  }

  subtract(hold: AccountHold): void {
    this.#tasks -= hold.tasks;
    this.#resources.subtract(hold.resources);
    this.#budgets.subtract(hold.budgets);
  }

  /** Whether something that a limit of this account counts is in a hold. */
  limitsAny({ tasks, resources, budgets }: AccountHold): boolean {
    const { hard, soft, budgets: declared, wantedBudgets } = this.#limits;
    if (this.#record === undefined) return false;
    if (tasks > 0 && (hard.has(TASKS) || soft.has(TASKS))) return true;
    for (const name of Object.keys(resources)) if (hard.has(name) || soft.has(name)) return true;
    for (const name of Object.keys(budgets)) if (declared.has(name) || wantedBudgets.has(name)) return true;
    return false;
  }

  /** What is reserved of a resource, or of "tasks". */
  reserved(name: string): number {
    return name === TASKS ? this.#tasks : this.#resources.get(name);
  }

  reservedBudget(name: string): number {
    return this.#budgets.get(name);
  }

  /** The first thing that a hold would have too much of. */
  shortage(hold: AccountHold, nowMs: number): Shortage | undefined {
    for (const found of this.shortages(hold, nowMs)) return found;
    return undefined;
  }

  *shortages(hold: AccountHold, nowMs: number): Generator<Shortage, void, undefined> {
    if (this.#record === undefined) return;
    const { hard } = this.#limits;
    if (hard.size > 0) {
      yield* this.#overHard(TASKS, hold.tasks);
      for (const [name, needed] of Object.entries(hold.resources)) {
        if (name !== TASKS) yield* this.#overHard(name, needed);
      }
    }
    for (const [name, needed] of Object.entries(hold.budgets)) {
      if (needed <= 0) continue;
      const limit = this.budgetLimit(name);
      const used = this.usedBudget(name, nowMs);
      if (limit !== undefined && used + needed > limit) {
        yield { kind: 'budget', resource: name, needed, used, limit };
      }
    }
  }

  /** How much of a budget may be reserved and spent; undefined: as much as you like. */
  budgetLimit(name: string): number | undefined {
    const limit = this.#limits.budgets.get(name)?.limit;
    const wanted = this.#limits.wantedBudgets.get(name);
    if (limit === undefined || wanted === undefined) return limit ?? wanted;
    return Math.min(limit, wanted);
  }

  /** What of a budget is reserved and spent. */
  usedBudget(name: string, nowMs: number): number {
    const budget = this.#limits.budgets.get(name);
    return this.#budgets.get(name) + (budget === undefined ? 0 : spentAt(budget, nowMs));
  }

  /** The resources of which more is reserved than the soft limit. */
  *overSoft(): Generator<{ resource: string; reserved: number; limit: number }, void, undefined> {
    for (const [resource, limit] of this.#limits.soft) {
      const reserved = this.reserved(resource);
      if (reserved > limit) yield { resource, reserved, limit };
    }
  }

  /** When the next period ends of a budget of which something is spent; undefined: never. */
  nextPeriodMs(nowMs: number): number | undefined {
    let next: number | undefined;
    for (const budget of this.#limits.budgets.values()) {
      if (budget.periodMs === undefined || spentAt(budget, nowMs) === 0) continue;
      next = Math.min(next ?? Number.POSITIVE_INFINITY, periodEndMs(budget.periodMs, nowMs));
    }
    return next;
  }

  *#overHard(resource: string, needed: number): Generator<Shortage, void, undefined> {
    const limit = this.#limits.hard.get(resource);
    const used = this.reserved(resource);
    if (limit === undefined || needed <= 0 || used + needed <= limit) return;
    yield { kind: 'quota', resource, needed, used, limit };
  }
}
