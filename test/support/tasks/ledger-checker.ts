import {
  Task_State,
  Task_StateSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { mailKey } from '../../../src/domain/coordination/delivery-record.ts';
import type { ChangeBatch, Entry, Position, Store } from '../../../src/state/store.ts';
import { budgetLimit, familyFaults, hardLimit, settlementFaults, spentAt } from './budget-rules.ts';
import { type Diff, hasEnded, LedgerState, ownSpent, taskOf } from './ledger-state.ts';
import type { Amounts } from './tally.ts';
import { allocationFaults, taskFaults } from './task-rules.ts';

/** Changes of one task that are remembered for people. */
const STORY = 40;

export interface LedgerCheckerOptions {
  /** As configured; 1 where it says nothing. */
  overcommit?: Readonly<Record<string, number>>;
  /** As configured. */
  defaultSlots?: number;
}

/** What agents and callers saw, for the end. */
export interface Expected {
  /** Tasks whose submission was acknowledged. */
  submitted: Iterable<string>;
  /** Every success that an agent has told, by task: its output, and whether it was answered that it is stored. */
  successes: ReadonlyMap<string, readonly { output: string; stored: boolean }[]>;
  /** What agents were answered that is stored as spent, by task: in all of its attempts together. */
  spent?: ReadonlyMap<string, Amounts>;
}

/**
 * Reads the change log of one namespace from its beginning, and says at every revision what must not be: more reserved than
 * there is, quotas exceeded, budgets overspent, tasks that end twice, attempts without a delivery. It knows the records and
 * nothing of the code that writes them.
 */
export class LedgerChecker {
  readonly state = new LedgerState();
  readonly faults: string[] = [];
  readonly #options: LedgerCheckerOptions;
  /** Where each task stands in the order of submission. */
  readonly #order = new Map<string, { revision: bigint; index: number }>();
  readonly #stories = new Map<string, string[]>();
  #position: Position = { epoch: 0n, revision: 0n };

  constructor(options: LedgerCheckerOptions = {}) {
    this.#options = options;
  }

  get revision(): bigint {
    return this.#position.revision;
  }

  /**
   * The whole content, at the beginning or where the log was lost: what came between is judged by where it led to.
   */
  resync({ epoch, revision }: Position, entries: readonly Entry[]): void {
    const there = new Set(entries.map(({ key }) => key));
    const gone = [...this.state.keys].filter((key) => !there.has(key)).map((key) => ({ key }));
    const diff = this.state.apply([...entries, ...gone]);
    const revisions = new Map(entries.map((entry) => [entry.key, entry.revision]));
    for (const { id, before, after } of diff.tasks) {
      if (before !== undefined || after === undefined) continue;
      const created = after.createdRevision || (revisions.get(`task/${id}`) ?? 0n);
      this.#order.set(id, { revision: created, index: after.index });
    }
    this.#tell(revision, diff);
    this.#position = { epoch, revision };
    const faults = [
      ...diff.tasks.flatMap(taskFaults),
      ...diff.allocations.flatMap(allocationFaults),
      ...this.#mailFaults(diff),
      ...familyFaults(this.state, diff),
    ];
    for (const fault of faults) this.faults.push(`up to revision ${revision}: ${fault}`);
  }

  /** Judges each commit as it comes; resolves when the beginning is known. */
  follow(store: Store, namespace = 'default'): Promise<() => void> {
    return store.follow({
      batch: (batch) => {
        if (batch.namespace === namespace) this.batch(batch);
      },
      snapshot: (of, position, entries) => {
        if (of === namespace) this.resync(position, entries);
      },
      live: () => {},
    });
  }

  /** Judges everything that the store has of the log since the last time. */
  async catchUp(store: Store, namespace = 'default'): Promise<void> {
    for (;;) {
      if (this.#position.epoch === 0n) {
        this.#position = { epoch: (await store.position(namespace)).epoch, revision: 0n };
      }
      const page = await store.changes(namespace, this.#position, 1_000);
      if (page.kind !== 'page')
        throw new Error(`the log cannot be read on from ${this.revision}: ${page.kind}`);
      for (const batch of page.batches) this.batch(batch);
      if (page.complete) return;
    }
  }

  batch({ epoch, revision, timeMs, changes }: ChangeBatch): void {
    if (revision !== this.revision + 1n && this.revision !== 0n) {
      this.faults.push(`revision ${revision} came after ${this.revision}`);
    }
    this.#position = { epoch, revision };
    const diff = this.state.apply(changes);
    this.#tell(revision, diff);
    for (const { id, before, after } of diff.tasks) {
      if (before === undefined && after !== undefined) this.#order.set(id, { revision, index: after.index });
    }
    const faults = [
      ...diff.tasks.flatMap(taskFaults),
      ...diff.allocations.flatMap(allocationFaults),
      ...this.#agentFaults(diff),
      ...this.#quotaFaults(diff),
      ...this.#budgetFaults(diff, timeMs),
      ...this.#orderFaults(diff),
      ...this.#mailFaults(diff),
      ...settlementFaults(this.state, diff),
      ...familyFaults(this.state, diff),
    ];
    for (const fault of faults) this.faults.push(`revision ${revision}: ${fault}`);
  }

  /** What the log says of a task, for people. */
  story(id: string): string {
    return (this.#stories.get(id) ?? []).join('; ');
  }

  #tell(revision: bigint, { tasks, mailed }: Diff): void {
    for (const id of new Set([...tasks.map((task) => task.id), ...mailed])) {
      const record = this.state.archived.has(id) ? undefined : this.state.tasks.get(id);
      const live = record?.live.map(
        (each) => `${each.number} on ${each.agentId}${each.lostMs > 0n ? ' lost' : ''}`,
      );
      const state = record === undefined ? 'gone' : Task_StateSchema.value[taskOf(record).state]?.localName;
      const mail = [...(this.state.mail.get(id) ?? [])];
      const story = this.#stories.get(id) ?? [];
      this.#stories.set(id, story);
      story.push(`${revision}: ${state} [${live?.join(', ') ?? ''}], mail [${mail.join(', ')}]`);
      if (story.length > STORY) story.shift();
    }
  }

  #agentFaults({ more }: Diff): string[] {
    const { overcommit = {}, defaultSlots = 1 } = this.#options;
    const faults: string[] = [];
    // Only what is reserved anew: a capacity may shrink below what is reserved.
    for (const [agentId, names] of more.onAgents) {
      const capacity = this.state.agents.get(agentId);
      for (const name of names) {
        const has =
          capacity?.[name] ?? (name === 'slots' && capacity !== undefined ? BigInt(defaultSlots) : 0n);
        const reservable = BigInt(Math.floor(Number(has) * (overcommit[name] ?? 1)));
        const reserved = this.state.onAgents.sums.of(agentId, name);
        if (reserved > reservable)
          faults.push(`${reserved} ${name} of ${reservable} are reserved on ${agentId}`);
      }
    }
    return faults;
  }

  #quotaFaults({ more }: Diff): string[] {
    const faults: string[] = [];
    for (const [owner, names] of more.ofQuotas) {
      const quota = this.state.quotas.get(owner);
      for (const name of quota === undefined ? [] : names) {
        const limit = quota && hardLimit(quota, name);
        const reserved = this.state.ofQuotas.sums.of(owner, name);
        if (limit !== undefined && reserved > limit) {
          faults.push(`${reserved} ${name} of quota "${owner}" are reserved, of ${limit}`);
        }
      }
    }
    return faults;
  }

  #budgetFaults({ more }: Diff, timeMs: number): string[] {
    const faults: string[] = [];
    for (const [owner, names] of more.ofBudgets) {
      const quota = this.state.quotas.get(owner);
      for (const name of quota === undefined ? [] : names) {
        const limit = quota && budgetLimit(quota, name);
        if (quota === undefined || limit === undefined) continue;
        const held = this.state.ofBudgets.sums.of(owner, name);
        const spent = spentAt(quota, name, timeMs);
        if (held + spent > limit) {
          faults.push(`of ${limit} ${name} of quota "${owner}" ${spent} are spent and ${held} held`);
        }
      }
    }
    return faults;
  }

  /** One task of an ordering key at a time, in the order of submission. */
  #orderFaults({ tasks }: Diff): string[] {
    const faults: string[] = [];
    for (const { id, before, after } of tasks) {
      if (after === undefined || after.live.length === 0 || (before?.live.length ?? 0) > 0) continue;
      const { orderingKey } = taskOf(after).spec;
      for (const other of this.state.byOrderingKey.get(orderingKey) ?? []) {
        const record = this.state.tasks.get(other);
        if (other === id || record === undefined) continue;
        if (record.live.length > 0) faults.push(`${id} and ${other} of key ${orderingKey} are live`);
        else if (!hasEnded(record) && this.#isBefore(other, id)) {
          faults.push(`${id} of key ${orderingKey} is live before ${other} has ended`);
        }
      }
    }
    return faults;
  }

  #isBefore(one: string, other: string): boolean {
    const [first, second] = [this.#order.get(one), this.#order.get(other)];
    if (first === undefined || second === undefined) return false;
    return first.revision === second.revision ? first.index < second.index : first.revision < second.revision;
  }

  /** Each live attempt has its delivery, and no delivery is without its attempt. */
  #mailFaults({ tasks, mailed }: Diff): string[] {
    const faults: string[] = [];
    for (const id of new Set([...tasks.map((task) => task.id), ...mailed])) {
      const record = this.state.archived.has(id) ? undefined : this.state.tasks.get(id);
      const wanted = new Set(record?.live.map(({ agentId, deliveryId }) => mailKey(agentId, deliveryId)));
      const there = this.state.mail.get(id) ?? new Set();
      for (const key of wanted)
        if (!there.has(key)) faults.push(`task ${id} has a live attempt without ${key}`);
      for (const key of there)
        if (!wanted.has(key)) faults.push(`${key} is there without a live attempt of ${id}`);
    }
    return faults;
  }

  /** What must hold when everything has ended, besides what was found on the way. */
  finish({ submitted, successes, spent = new Map() }: Expected): string[] {
    const { state } = this;
    const faults = [
      ...state.onAgents.keys.map((key) => `${key} is still reserved`),
      ...state.onAgents.sums.left().map((left) => `reserved on ${left}`),
      ...state.ofQuotas.sums.left().map((left) => `reserved of quotas of ${left}`),
      ...state.ofBudgets.keys.map((key) => `${key} still holds budgets`),
      ...[...state.mail].flatMap(([, keys]) => [...keys].map((key) => `${key} is still there`)),
    ];
    for (const id of new Set([...submitted, ...state.tasks.keys()])) {
      const record = state.tasks.get(id);
      if (record === undefined) {
        faults.push(`task ${id} was acknowledged, and is not in the log`);
        continue;
      }
      const { state: how, output } = taskOf(record);
      if (!hasEnded(record))
        faults.push(`task ${id} has not ended: ${Task_StateSchema.value[how]?.localName}`);
      const told = successes.get(id) ?? [];
      const stored = told.filter((each) => each.stored);
      if (new Set(stored.map((each) => each.output)).size > 1) faults.push(`task ${id} has several results`);
      if (stored.length > 0 && how !== Task_State.SUCCEEDED) {
        faults.push(
          `the result of task ${id} was stored, and it is ${Task_StateSchema.value[how]?.localName}`,
        );
      }
      const text = output?.data.case === 'text' ? output.data.value : '';
      if (how === Task_State.SUCCEEDED && record.outputKey === '') {
        const right = stored.length > 0 ? stored : told;
        if (!right.some((each) => each.output === text))
          faults.push(`task ${id} has a result of nobody: ${text}`);
      }
      for (const [name, least] of Object.entries(spent.get(id) ?? {})) {
        const is = ownSpent(record)[name] ?? 0n;
        if (is < least) faults.push(`task ${id} has spent ${is} ${name}, and ${least} were acknowledged`);
      }
    }
    return faults;
  }
}
