import {
  PendingReason,
  type PlacementExplanation,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type { Part } from '../../../state/merged-commits.ts';
import type { Check } from '../../../state/store.ts';
import { allocationKey, encodeAllocation } from '../../resource/allocations/allocation-record.ts';
import { refused } from '../../resource/allocations/allocation-rules.ts';
import type { Ledger } from '../../resource/ledger.ts';
import { budgetsOfParent, freeBudgets, missingBudget } from './budgets.ts';
import { FairShare } from './fair-share.ts';
import { GrantStore } from './grant-store.ts';
import { type Grant, Grants } from './grants.ts';
import { itemOfAllocation, itemOfTask } from './items.ts';
import { KeptFree } from './kept-free.ts';
import { Moves } from './moves.ts';
import { ParentNeeds } from './parent-needs.ts';
import { excluded, nextRefusalMs, takesNoAgent } from './refusals.ts';
import { RoomEvents } from './room-events.ts';
import type { SchedulerPorts } from './scheduler-ports.ts';
import { Since } from './since.ts';
import { draftOf } from './task-draft.ts';
import { wantsAttempt } from './task-dues.ts';
import { hasEnded, type KnownTask, specOf, taskKey } from './task-record.ts';
import { Turns } from './turns.ts';
import { type Group, type Item, type Lane, Waiting } from './waiting.ts';
import { type Explanations, explanationOf, type Why, type WhyInput, whyItWaits } from './why.ts';

export interface NamespaceSchedulerOptions extends SchedulerPorts {
  namespace: string;
  ledger: Ledger;
}

/** How long one turn of placing may take before others get their turn of the event loop. */
const TURN_MS = 4;
/** Pause after something that should not have failed, and before an agent that could not have something is tried again. */
const PAUSE_MS = 200;
/** Pause of something whose placing failed for a reason that nobody thought of. */
const FAILED_PAUSE_MS = 5000;
/** Of those that others refused, so many are tried when an agent has room. */
const MAX_RESUMED = 64;

/**
 * Gives the tasks and allocations of one namespace their places. Every replica keeps what waits, so that whoever takes over has
 * it at hand; places are given by the holder of the lease alone. What it has under way is reserved in memory before it is stored.
 */
export class NamespaceScheduler {
  readonly waiting: Waiting;
  readonly #options: NamespaceSchedulerOptions;
  readonly #shares = new FairShare();
  readonly #grants: Grants;
  readonly #store: GrantStore;
  readonly #kept: KeptFree;
  readonly #moves: Moves;
  readonly #needs = new ParentNeeds();
  /** Parents of whose budgets something is being taken: one child at a time, as each changes the parent. */
  readonly #giving = new Set<string>();
  readonly #turns: Turns;
  readonly #room: RoomEvents;
  /** What is set aside because the agents with room refused it; also some that is not so any more. */
  readonly #refused = new Map<string, Item>();
  readonly #since: Since;
  readonly #explanations: Explanations = new Map();
  #planned = false;
  #closed = false;

  constructor(options: NamespaceSchedulerOptions) {
    this.#options = options;
    const { ledger, config } = options;
    this.waiting = new Waiting({ pool: ledger.pool });
    this.#since = new Since({ waiting: this.waiting });
    this.#grants = new Grants({ ...options, shares: this.#shares });
    this.#store = new GrantStore(options);
    this.#kept = new KeptFree({
      waiting: this.waiting,
      pool: ledger.pool,
      reserveAfterMs: config.reserveAfterMs,
    });
    this.#turns = new Turns({
      clock: (owner) => this.#shares.clock(owner),
      overSoft: (owner) => ledger.accounts.overSoft(owner),
    });
    this.#room = new RoomEvents({
      waiting: this.waiting,
      pool: ledger.pool,
      unblock: (group) => this.#unblock(group),
      resumeRefused: (agentId) => this.#resumeRefused(agentId),
    });
    this.#moves = new Moves({ ...options, grants: this.#grants, store: this.#store });
    ledger.pool.listen({
      room: (agentId) => this.#hasRoom(agentId),
      loosened: (wanted) => {
        const group = this.waiting.groupOfClass(wanted);
        if (group !== undefined) this.#unblock(group);
      },
    });
    ledger.accounts.listen((owner) => this.#quotaLoosened(owner));
  }

  /** Agents that are kept free, each with the key of what it is kept free for. */
  get keptFree(): ReadonlyMap<string, string> {
    return this.#kept.agents;
  }

  get #namespace(): string {
    return this.#options.namespace;
  }

  close(): void {
    this.#closed = true;
    this.#store.close();
  }

  /** A task is as it is now; undefined: it has left memory. */
  taskChanged(before: KnownTask | undefined, after: KnownTask | undefined): void {
    const known = after ?? before;
    if (known === undefined) return;
    const { id, record } = known;
    const key = taskKey(id);
    const { orderingKey } = specOf(record);
    const nowMs = this.#options.storeTime.ms();
    const wants = after !== undefined && wantsAttempt(record);
    if (!wants) {
      this.#store.over(key);
      this.#keptNoMore(key);
    }
    const underway = this.#store.isUnderway(key);
    this.#needs.remove(id);
    if (wants && !underway) this.#enter(itemOfTask(after, this.#options.config.agingMs), nowMs);
    else this.waiting.remove(key);
    if (orderingKey !== '') {
      const isLive = after !== undefined && !hasEnded(record) && (record.live.length > 0 || underway);
      this.#dirty(this.waiting.setLive(orderingKey, key, isLive, nowMs));
    }
    if (after !== undefined && this.#moves.changed(after)) this.plan();
    this.#parentIsFree(id);
  }

  /** An allocation waits, or does not any more. */
  allocationChanged(key: string, item: Item | undefined): void {
    if (item === undefined) {
      this.#store.over(key);
      this.#keptNoMore(key);
    }
    if (item !== undefined && !this.#store.isUnderway(key)) {
      this.#enter(item, this.#options.storeTime.ms());
    } else this.waiting.remove(key);
  }

  /** Looks soon at what may be placed; however often it is called in one turn of the event loop, once. */
  plan(): void {
    if (this.#planned || this.#closed) return;
    this.#planned = true;
    queueMicrotask(() => {
      this.#planned = false;
      this.#run();
    });
  }

  /** Time has passed: those whose time has come, and those that wait too long. Call it ten times a second. */
  tick(nowMs: number): void {
    for (const lane of this.waiting.unpark(nowMs)) this.#dirty(lane);
    for (const agentId of this.#kept.tick(nowMs)) this.#hasRoom(agentId);
    for (const parentId of this.#needs.parents()) this.#lookAtChildren(parentId);
    if (this.#moves.size > 0) this.plan();
    for (const { id } of this.#options.allocations.waiting(this.#namespace)) {
      const item = this.waiting.get(allocationKey(id));
      if (item !== undefined) this.#refuseLate(item);
    }
  }

  /** This replica schedules from now on: everything is looked at anew. */
  begin(): void {
    for (const lane of this.waiting.lanes()) lane.quotaBlocked = false;
    for (const group of this.waiting.groups()) this.#unblock(group);
    this.plan();
  }

  /**
   * Places a new task that nothing waits before, if there is room: what is returned goes into the commit that submits it.
   * Undefined: it has to wait.
   */
  admit(known: KnownTask, fence: Check): Grant | undefined {
    const item = itemOfTask(known, this.#options.config.agingMs);
    if (item.orderingKey !== '' || specOf(known.record).parentTaskId !== '') return undefined;
    // Others may be about to get the same room.
    if (!this.#turns.isEmpty || !this.#room.isEmpty) return undefined;
    if (this.waiting.groupOf(item.want) !== undefined) return undefined;
    const { ledger, storeTime } = this.#options;
    if (ledger.accounts.admits(item.hold, storeTime.ms()) !== undefined) return undefined;
    const wanted = ledger.pool.classOf(item.want);
    const choice = ledger.pool.choose(wanted, { keptFree: this.keptFree, forKey: item.key });
    ledger.pool.release(wanted);
    if (choice === undefined) return undefined;
    this.#shares.enter(item.owner);
    return this.#grants.toTask(known, { record: known.record, withdrawn: [] }, item, choice, fence);
  }

  /** What was admitted was not stored, because of a key. */
  refused(grant: Grant, key: string): void {
    this.#store.refused(key);
    grant.undo();
  }

  /** The commit with what was admitted failed. */
  failed(grant: Grant, error: unknown): void {
    this.#store.failed(grant, error);
  }

  /** Why something waits now. */
  why(item: Item, nowMs: number): Why {
    return whyItWaits(this.#whyInput(item, nowMs));
  }

  /** Where something would go, or why nowhere: all but quotas. */
  explanation(item: Item, nowMs: number): PlacementExplanation {
    return explanationOf(this.#whyInput(item, nowMs));
  }

  /** Since when it has been so, as far as is known here; by the store's clock. */
  sinceOf(key: string, reason: number, nowMs: number): number {
    return this.#since.of(key, reason, nowMs);
  }

  #whyInput(item: Item, nowMs: number): WhyInput {
    const { ledger, tasks } = this.#options;
    const known = item.kind === 'task' ? tasks.get(this.#namespace, item.id) : undefined;
    const parent = known && this.#lackingParent(known)?.known;
    return {
      ...{ item, nowMs, ledger, parent, waiting: this.waiting },
      keptFree: this.keptFree,
      explanations: this.#explanations,
    };
  }

  #enter(item: Item, nowMs: number): void {
    const lane = this.waiting.put(item, nowMs);
    if (lane === undefined) return;
    // What it is behind others stays its own as long as it has something that waits.
    const [, another] = this.waiting.lanesOf(item.owner);
    if (lane.line.size === 1 && another === undefined) this.#shares.enter(item.owner);
    this.#dirty(lane);
  }

  #dirty(lane: Lane | undefined): void {
    if (lane === undefined) return;
    this.#turns.add(lane);
    this.plan();
  }

  #hasRoom(agentId: string): void {
    this.#room.add(agentId);
    this.plan();
  }

  /** What an agent was kept free for does not need it any more. */
  #keptNoMore(key: string): void {
    for (const agentId of this.#kept.over(key)) this.#hasRoom(agentId);
  }

  #unblock(group: Group): void {
    group.roomBlocked = false;
    group.holdsBack = false;
    for (const lane of group.lanes.values()) {
      lane.heldBack = false;
      this.#dirty(lane);
    }
  }

  #quotaLoosened(owner: string): void {
    const lanes = owner === '' ? this.waiting.lanes() : this.waiting.lanesOf(owner);
    for (const lane of lanes) {
      if (!lane.quotaBlocked) continue;
      lane.quotaBlocked = false;
      this.#dirty(lane);
    }
  }

  /** What others refused, this one may have. */
  *#resumeRefused(agentId: string): Generator<void> {
    const nowMs = this.#options.storeTime.ms();
    let resumed = 0;
    for (const [key, item] of this.#refused) {
      yield;
      const isAside = this.waiting.get(key) === item && this.waiting.laneOf(key) === undefined;
      if (isAside && (item.refusals.get(agentId) ?? 0) > nowMs) continue;
      this.#refused.delete(key);
      if (!isAside) continue;
      this.#dirty(this.waiting.resume(key, nowMs));
      resumed += 1;
      if (resumed === MAX_RESUMED) return;
    }
  }

  #run(): void {
    if (this.#closed) return;
    const { fence, clock, log } = this.#options;
    const held = fence(this.#namespace);
    // Whoever takes over looks at everything anew.
    if (held === undefined) {
      this.#room.clear();
      this.#turns.clear();
      return;
    }
    const startMs = clock.monoMs();
    try {
      const isLate = (): boolean => clock.monoMs() - startMs > TURN_MS;
      if (!this.#room.take(isLate)) {
        setImmediate(() => this.plan());
        return;
      }
      this.#moves.run(held);
      for (let lane = this.#nextLane(); lane !== undefined; lane = this.#nextLane()) {
        this.#tryFirst(lane, held);
        if (!isLate()) continue;
        setImmediate(() => this.plan());
        return;
      }
    } catch (error) {
      log.error({ namespace: this.#namespace, err: error }, 'scheduling failed; it goes on later');
      setTimeout(() => this.begin(), PAUSE_MS).unref();
    }
  }

  /** What an agent was kept free for has its turn as soon as there is room. */
  #nextLane(): Lane | undefined {
    const ready = this.#kept.ready();
    if (ready !== undefined && this.#turns.has(ready) && !ready.quotaBlocked && !ready.group.roomBlocked)
      return ready;
    return this.#turns.next();
  }

  /** One that cannot be placed for a reason that nobody thought of must not stop the others. */
  #tryFirst(lane: Lane, fence: Check): void {
    const item = lane.line.first();
    if (item === undefined) {
      this.#turns.delete(lane);
      return;
    }
    try {
      this.#placeFirst(lane, item, fence);
    } catch (error) {
      const { log, storeTime } = this.#options;
      const about = { namespace: this.#namespace, key: item.key, err: error };
      log.error(about, 'something that waits could not be placed; it is tried again later');
      const nowMs = storeTime.ms();
      if (this.waiting.get(item.key) === undefined) this.waiting.put(item, nowMs);
      this.waiting.park(item, nowMs + FAILED_PAUSE_MS);
    }
  }

  #placeFirst(lane: Lane, item: Item, fence: Check): void {
    const { ledger, storeTime } = this.#options;
    const nowMs = storeTime.ms();
    if (ledger.accounts.admits(item.hold, nowMs) !== undefined) {
      lane.quotaBlocked = true;
      this.#refuseLate(item);
      return;
    }
    if (this.#waitsForParent(item)) return;
    if (takesNoAgent(item)) {
      this.#placeAllocation(item, undefined, fence);
      return;
    }
    const exclude = excluded(item, nowMs);
    const how = { keptFree: this.keptFree, forKey: item.key };
    const choice = ledger.pool.choose(lane.group.class, exclude === undefined ? how : { ...how, exclude });
    if (choice !== undefined) {
      if (item.kind === 'allocation') this.#placeAllocation(item, choice, fence);
      else this.#placeTask(item, choice, fence);
      return;
    }
    if (exclude !== undefined && ledger.pool.choose(lane.group.class, how) !== undefined) {
      this.waiting.park(item, nextRefusalMs(item, nowMs));
      this.#refused.set(item.key, item);
      return;
    }
    if (this.#kept.holdsBack(lane)) {
      lane.heldBack = true;
      lane.group.holdsBack = true;
    } else {
      lane.group.roomBlocked = true;
      lane.group.roomBlockedMs = nowMs;
    }
    this.#refuseLate(item);
  }

  #placeTask(item: Item, choice: Parameters<Grants['toTask']>[3], fence: Check): void {
    const { tasks, storeTime } = this.#options;
    const known = tasks.get(this.#namespace, item.id);
    const grant = known && this.#grants.toTask(known, draftOf(known), item, choice, fence);
    this.waiting.remove(item.key);
    if (known === undefined) return;
    if (grant === undefined) {
      const nowMs = storeTime.ms();
      const refusals = new Map(item.refusals).set(choice.agentId, nowMs + PAUSE_MS);
      this.#enter({ ...item, refusals }, nowMs);
      return;
    }
    // Until it is stored, and after, no other of its key.
    if (item.orderingKey !== '') this.waiting.setLive(item.orderingKey, item.key, true, storeTime.ms());
    this.#keptNoMore(item.key);
    const parentId = budgetsOfParent(known.record) === undefined ? '' : specOf(known.record).parentTaskId;
    if (parentId !== '') this.#giving.add(parentId);
    this.#store.store(item.key, grant, () => {
      this.#parentIsFree(parentId);
      this.#reconsider(item.id);
    });
  }

  /** A parent has changed, or was not changed after all: children that waited for it are looked at again. */
  #parentIsFree(id: string): void {
    this.#giving.delete(id);
    this.#lookAtChildren(id);
  }

  #lookAtChildren(parentId: string): void {
    if (this.#giving.has(parentId)) return;
    const isEnough = (id: string): boolean => {
      const known = this.#options.tasks.get(this.#namespace, id);
      return known === undefined || this.#lackingParent(known) === undefined;
    };
    for (const id of this.#needs.take(parentId, isEnough)) this.#reconsider(id);
  }

  /** The parent of whose budget there is too little for a task; undefined: there is enough, or it needs none. */
  #lackingParent({ record }: KnownTask): { id: string; known: KnownTask | undefined } | undefined {
    const wanted = budgetsOfParent(record);
    if (wanted === undefined) return undefined;
    const id = specOf(record).parentTaskId;
    const known = this.#options.tasks.get(this.#namespace, id);
    const has = known !== undefined && missingBudget(freeBudgets(known.record), wanted) === undefined;
    return has ? undefined : { id, known };
  }

  #placeAllocation(item: Item, choice: Parameters<Grants['toAllocation']>[2], fence: Check): void {
    const known = this.#options.allocations.get(this.#namespace, item.id);
    const grant = known && this.#grants.toAllocation(known, item, choice, fence);
    this.waiting.remove(item.key);
    this.#keptNoMore(item.key);
    if (grant !== undefined) this.#store.store(item.key, grant, () => this.#reconsiderAllocation(item.id));
  }

  /** An allocation that does not want to wait, or has waited for long enough, hears so. */
  #refuseLate(item: Item): void {
    if (item.kind !== 'allocation') return;
    const { allocations, storeTime } = this.#options;
    const known = allocations.get(this.#namespace, item.id);
    const nowMs = storeTime.ms();
    const waitUntilMs = Number(known?.record.waitUntilMs ?? 0n);
    if (known === undefined || waitUntilMs > nowMs) return;
    const why = this.why(item, nowMs);
    // There is room: its grant was refused because something else had changed, and it is about to be tried again.
    if (why.reason === PendingReason.TURN && nowMs < waitUntilMs + TURN_GRACE_MS) return;
    const key = allocationKey(item.id);
    const part: Part = {
      checks: [{ key, revision: known.revision }],
      puts: [{ key, value: encodeAllocation(refused(known.record, why, nowMs)) }],
    };
    this.waiting.remove(item.key);
    this.#keptNoMore(item.key);
    this.#store.store(item.key, { part, undo: () => {} }, () => this.#reconsiderAllocation(item.id));
  }

  #waitsForParent(item: Item): boolean {
    const { tasks } = this.#options;
    const known = item.kind === 'task' ? tasks.get(this.#namespace, item.id) : undefined;
    if (known === undefined || budgetsOfParent(known.record) === undefined) return false;
    const { parentTaskId } = specOf(known.record);
    if (this.#lackingParent(known) === undefined && !this.#giving.has(parentTaskId)) return false;
    this.waiting.park(item, Number.POSITIVE_INFINITY);
    this.#needs.add(parentTaskId, item);
    return true;
  }

  /** It waits again, if it still does. */
  #reconsider(id: string): void {
    const known = this.#options.tasks.get(this.#namespace, id);
    if (known !== undefined) this.taskChanged(undefined, known);
  }

  #reconsiderAllocation(id: string): void {
    const { allocations, config } = this.#options;
    const known = allocations.get(this.#namespace, id);
    this.allocationChanged(allocationKey(id), known && itemOfAllocation(known, config.agingMs));
  }
}

/** So long beyond its wait an allocation for which there is room may have its turn. */
const TURN_GRACE_MS = 1000;
