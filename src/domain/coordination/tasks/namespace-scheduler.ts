import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { PlacementExplanation } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type { Part } from '../../../state/merged-commits.ts';
import { type Check, StoreUnavailableError } from '../../../state/store.ts';
import { agentKey, agentOf } from '../../agent/record.ts';
import { allocationKey, encodeAllocation } from '../../resource/allocations/allocation-record.ts';
import { granted, refused } from '../../resource/allocations/allocation-rules.ts';
import { bigintsOf } from '../../resource/amounts.ts';
import type { Ledger } from '../../resource/ledger.ts';
import type { Choice } from '../../resource/pool/types.ts';
import { sessionOf } from '../messages/fan-out.ts';
import { attemptDelivery } from './attempt-delivery.ts';
import { budgetsOfParent, freeBudgets, missingBudget } from './budgets.ts';
import { FairShare } from './fair-share.ts';
import { itemOfAllocation, itemOfTask } from './items.ts';
import type { SchedulerPorts } from './scheduler-ports.ts';
import {
  copyTask,
  encodeTask,
  hasEnded,
  isPresent,
  type KnownTask,
  specOf,
  sum,
  taskKey,
  taskOf,
} from './task-record.ts';
import { assign, clearMove, type Draft, draftOf, wantsAttempt } from './task-rules.ts';
import { earlier, type Group, type Item, type Lane, Waiting } from './waiting.ts';
import { type Explanations, explanationOf, type Why, type WhyInput, whyItWaits } from './why.ts';

export interface NamespaceSchedulerOptions extends SchedulerPorts {
  namespace: string;
  ledger: Ledger;
}

/** How long one turn of placing may take before others get their turn of the event loop. */
const TURN_MS = 4;
/** How long the view may take to show what was committed. */
const VIEW_MS = 2000;
/** Pause after the store refused, or was away. */
const PAUSE_MS = 200;
/** Lanes that one turn compares, at most, for each placement. */
const MAX_LANES = 256;
/** Reasons that are remembered with their beginning. */
const MAX_SINCE = 10_000;

/** What placing something would store. */
export interface Grant {
  part: Part;
  /** Reservations in memory, undone if it is not stored. */
  undo(): void;
}

/**
 * Gives the tasks and allocations of one namespace their places. Every replica keeps what waits, so that whoever takes over has
 * it at hand; places are given by the holder of the lease alone. What it has under way is reserved in memory before it is stored.
 */
export class NamespaceScheduler {
  readonly waiting: Waiting;
  readonly #options: NamespaceSchedulerOptions;
  readonly #shares = new FairShare();
  /** What is being stored: it does not wait, whatever the view still shows. */
  readonly #underway = new Set<string>();
  readonly #dirtyLanes = new Set<Lane>();
  readonly #roomOn = new Set<string>();
  /** Tasks that wait for their parent's budget, by the parent. */
  readonly #needParent = new Map<string, Set<string>>();
  /** Agents that are kept free, each for what waits under a key. */
  readonly #keptFree = new Map<string, string>();
  readonly #since = new Map<string, { reason: number; sinceMs: number }>();
  readonly #explanations: Explanations = new Map();
  /** Tasks that are to be moved. */
  readonly #moves = new Set<string>();
  #planned = false;
  #closed = false;

  constructor(options: NamespaceSchedulerOptions) {
    this.#options = options;
    const { ledger } = options;
    this.waiting = new Waiting({ pool: ledger.pool });
    ledger.pool.listen({
      room: (agentId) => {
        this.#roomOn.add(agentId);
        this.plan();
      },
      loosened: (wanted) => {
        const group = this.waiting.groupOfClass(wanted);
        if (group !== undefined) this.#unblock(group);
      },
    });
    ledger.accounts.listen((owner) => this.#quotaLoosened(owner));
  }

  get keptFree(): ReadonlyMap<string, string> {
    return this.#keptFree;
  }

  get #namespace(): string {
    return this.#options.namespace;
  }

  close(): void {
    this.#closed = true;
  }

  /** A task is as it is now; undefined: it has left memory. */
  taskChanged(before: KnownTask | undefined, after: KnownTask | undefined): void {
    const known = after ?? before;
    if (known === undefined) return;
    const { id, record } = known;
    const key = taskKey(id);
    const { orderingKey } = specOf(record);
    const nowMs = this.#options.storeTime.ms();
    this.#underwayOver(key, after);
    const wants = after !== undefined && wantsAttempt(record);
    if (wants && !this.#underway.has(key))
      this.#enter(itemOfTask(after, this.#options.config.agingMs), nowMs);
    else this.waiting.remove(key);
    if (orderingKey !== '') {
      const isLive = after !== undefined && !hasEnded(record) && record.live.length > 0;
      this.#dirty(this.waiting.setLive(orderingKey, key, isLive, nowMs));
    }
    if (after !== undefined && record.moveToAgentId !== '' && record.live.length === 1) {
      this.#moves.add(id);
      this.plan();
    }
    const needy = this.#needParent.get(id);
    if (needy !== undefined) {
      this.#needParent.delete(id);
      for (const child of needy) this.#reconsider(child);
    }
  }

  /** Something that waits, or does not any more; allocations come in here. */
  itemChanged(key: string, item: Item | undefined): void {
    if (item !== undefined && !this.#underway.has(key)) this.#enter(item, this.#options.storeTime.ms());
    else this.waiting.remove(key);
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
    this.#keepFree(nowMs);
    if (this.#moves.size > 0) this.plan();
  }

  /** This replica schedules from now on: everything is looked at anew. */
  begin(): void {
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
    const group = this.waiting.groupOf(item.want);
    if (group !== undefined) return undefined;
    const { ledger, storeTime } = this.#options;
    if (ledger.accounts.admits(item.hold, storeTime.ms()) !== undefined) return undefined;
    const wanted = ledger.pool.classOf(item.want);
    const choice = ledger.pool.choose(wanted, { keptFree: this.#keptFree, forKey: item.key });
    ledger.pool.release(wanted);
    if (choice === undefined) return undefined;
    this.#shares.enter(item.owner);
    return this.#grantTask(known, { record: known.record, withdrawn: [] }, item, choice, fence);
  }

  #enter(item: Item, nowMs: number): void {
    const lane = this.waiting.put(item, nowMs);
    if (lane === undefined) return;
    if (lane.line.size === 1) this.#shares.enter(item.owner);
    this.#dirty(lane);
  }

  /** What of it was under way is seen now, or something else became of it. */
  #underwayOver(key: string, after: KnownTask | undefined): void {
    if (after === undefined || !wantsAttempt(after.record)) this.#underway.delete(key);
  }

  #dirty(lane: Lane | undefined): void {
    if (lane === undefined) return;
    this.#dirtyLanes.add(lane);
    this.plan();
  }

  #unblock(group: Group): void {
    group.roomBlocked = false;
    for (const lane of group.lanes.values()) this.#dirty(lane);
  }

  #quotaLoosened(owner: string): void {
    const lanes = owner === '' ? this.waiting.lanes() : this.waiting.lanesOf(owner);
    for (const lane of lanes) {
      if (!lane.quotaBlocked) continue;
      lane.quotaBlocked = false;
      this.#dirty(lane);
    }
  }

  /** Classes that an agent has room for now are looked at again. */
  #takeRoom(): void {
    const { pool } = this.#options.ledger;
    for (const agentId of this.#roomOn) {
      const agent = pool.agent(agentId);
      if (agent === undefined) continue;
      const names = new Set(['', ...agent.capabilities.map(({ name }) => name)]);
      for (const name of names) {
        for (const group of this.waiting.groupsFor(name)) {
          if (group.roomBlocked && pool.fits(group.class, agentId)) this.#unblock(group);
        }
      }
    }
    this.#roomOn.clear();
  }

  #run(): void {
    if (this.#closed) return;
    const { fence, clock, log } = this.#options;
    const held = fence(this.#namespace);
    // Whoever takes over looks at everything anew.
    if (held === undefined) {
      this.#roomOn.clear();
      return;
    }
    const startMs = clock.monoMs();
    try {
      this.#takeRoom();
      this.#runMoves(held);
      while (this.#dirtyLanes.size > 0) {
        const lane = this.#nextLane();
        if (lane === undefined) break;
        this.#placeFirst(lane, held);
        if (clock.monoMs() - startMs > TURN_MS) {
          setImmediate(() => this.plan());
          return;
        }
      }
    } catch (error) {
      log.error({ namespace: this.#namespace, err: error }, 'scheduling failed; it goes on later');
      setTimeout(() => this.begin(), PAUSE_MS).unref();
    }
  }

  /** Of the lanes that may be served the one whose owner's turn it is, and of his the one whose first comes first. */
  #nextLane(): Lane | undefined {
    let best: Lane | undefined;
    let bestClock = 0;
    let bestSoft = false;
    let looked = 0;
    const { accounts } = this.#options.ledger;
    for (const lane of this.#dirtyLanes) {
      if (lane.line.size === 0 || lane.quotaBlocked || lane.group.roomBlocked) {
        this.#dirtyLanes.delete(lane);
        continue;
      }
      looked += 1;
      if (looked > MAX_LANES) break;
      const soft = accounts.overSoft(lane.owner);
      const clock = this.#shares.clock(lane.owner);
      if (best !== undefined && best.owner === lane.owner) best = earlier(best, lane);
      else if (best === undefined || (soft === bestSoft ? clock < bestClock : !soft)) {
        best = lane;
        bestClock = clock;
        bestSoft = soft;
      }
    }
    return best;
  }

  #placeFirst(lane: Lane, fence: Check): void {
    const item = lane.line.first();
    if (item === undefined) return void this.#dirtyLanes.delete(lane);
    const { ledger, storeTime } = this.#options;
    const nowMs = storeTime.ms();
    if (ledger.accounts.admits(item.hold, nowMs) !== undefined) {
      lane.quotaBlocked = true;
      return;
    }
    if (this.#needsParent(item)) return;
    const exclude = excluded(item, nowMs);
    const how = { keptFree: this.#keptFree, forKey: item.key };
    const choice = ledger.pool.choose(lane.group.class, exclude === undefined ? how : { ...how, exclude });
    if (choice !== undefined) {
      this.#place(item, choice, fence);
      return;
    }
    if (exclude !== undefined && ledger.pool.choose(lane.group.class, how) !== undefined) {
      this.waiting.park(item, Math.min(...[...item.refusals.values()].filter((untilMs) => untilMs > nowMs)));
      this.#refuseLate(item);
      return;
    }
    lane.group.roomBlocked = true;
    lane.group.roomBlockedMs = nowMs;
    for (const each of lane.group.lanes.values()) for (const one of each.line) this.#refuseLate(one);
  }

  /** An allocation that does not want to wait, or has waited for long enough, hears so. */
  #refuseLate(item: Item): void {
    if (item.kind !== 'allocation') return;
    const { allocations, storeTime } = this.#options;
    const known = allocations.get(this.#namespace, item.id);
    if (known !== undefined && Number(known.record.waitUntilMs) <= storeTime.ms()) this.refuse(item);
  }

  /** Refuses an allocation, with why. */
  refuse(item: Item): void {
    const { allocations, storeTime } = this.#options;
    const known = allocations.get(this.#namespace, item.id);
    if (known === undefined) return;
    const nowMs = storeTime.ms();
    const why = this.why(item, nowMs);
    const key = allocationKey(item.id);
    this.waiting.remove(item.key);
    const part: Part = {
      checks: [{ key, revision: known.revision }],
      puts: [{ key, value: encodeAllocation(refused(known.record, why, nowMs)) }],
    };
    this.#store(item, { part, undo: () => {} });
  }

  /** Why something waits now. */
  why(item: Item, nowMs: number): Why {
    return whyItWaits(this.#whyInput(item, nowMs));
  }

  #whyInput(item: Item, nowMs: number): WhyInput {
    const { ledger, tasks } = this.#options;
    const parentTaskId = this.#needParentOf(item.id);
    const parent = parentTaskId === undefined ? undefined : tasks.get(this.#namespace, parentTaskId);
    return {
      ...{ item, nowMs, ledger, parent, waiting: this.waiting },
      keptFree: this.#keptFree,
      explanations: this.#explanations,
    };
  }

  /** Where something would go, or why nowhere: all but quotas. */
  explanation(item: Item, nowMs: number): PlacementExplanation {
    return explanationOf(this.#whyInput(item, nowMs));
  }

  /** Since when it has been so, as far as this replica has been asked; by the store's clock. */
  sinceOf(key: string, reason: number, nowMs: number): number {
    const known = this.#since.get(key);
    if (known?.reason === reason) return known.sinceMs;
    const lane = this.waiting.laneOf(key);
    const item = this.waiting.get(key);
    const blockedMs = lane?.group.roomBlocked === true ? lane.group.roomBlockedMs : nowMs;
    const sinceMs = known === undefined ? Math.max(item?.sinceMs ?? 0, Math.min(blockedMs, nowMs)) : nowMs;
    if (this.#since.size >= MAX_SINCE) this.#since.clear();
    this.#since.set(key, { reason, sinceMs });
    return sinceMs;
  }

  #needParentOf(id: string): string | undefined {
    for (const [parent, children] of this.#needParent) if (children.has(id)) return parent;
    return undefined;
  }

  #needsParent(item: Item): boolean {
    const known = item.kind === 'task' ? this.#options.tasks.get(this.#namespace, item.id) : undefined;
    const wanted = known && budgetsOfParent(known.record);
    if (known === undefined || wanted === undefined) return false;
    const { parentTaskId } = specOf(known.record);
    const parent = this.#options.tasks.get(this.#namespace, parentTaskId);
    if (parent !== undefined && missingBudget(freeBudgets(parent.record), wanted) === undefined) return false;
    this.waiting.park(item, Number.POSITIVE_INFINITY);
    const needy = this.#needParent.get(parentTaskId);
    if (needy === undefined) this.#needParent.set(parentTaskId, new Set([item.id]));
    else needy.add(item.id);
    return true;
  }

  #reconsider(id: string): void {
    const known = this.#options.tasks.get(this.#namespace, id);
    if (known !== undefined) this.taskChanged(undefined, known);
  }

  #place(item: Item, choice: Choice, fence: Check): void {
    const { tasks, allocations } = this.#options;
    this.waiting.remove(item.key);
    for (const [agentId, key] of this.#keptFree) if (key === item.key) this.#keptFree.delete(agentId);
    if (item.kind === 'allocation') {
      const known = allocations.get(this.#namespace, item.id);
      if (known !== undefined) this.#store(item, this.#grantAllocation(item, choice, fence));
      return;
    }
    const known = tasks.get(this.#namespace, item.id);
    if (known === undefined) return;
    const { directory, mailboxes, config } = this.#options;
    const isFull = mailboxes.count(this.#namespace, choice.agentId) >= config.maxMailbox;
    if (isFull || directory.get(this.#namespace, choice.agentId) === undefined) {
      const refusals = new Map(item.refusals).set(choice.agentId, this.#options.storeTime.ms() + PAUSE_MS);
      this.#enter({ ...item, refusals }, this.#options.storeTime.ms());
      return;
    }
    const grant = this.#grantTask(known, draftOf(known), item, choice, fence);
    if (grant !== undefined) this.#store(item, grant);
  }

  /** @param draft what becomes of the task; also one that is not stored yet */
  #grantTask(known: KnownTask, draft: Draft, item: Item, choice: Choice, fence: Check): Grant | undefined {
    const { ledger, directory, storeTime, store, tasks, config } = this.#options;
    const agent = directory.get(this.#namespace, choice.agentId);
    if (agent === undefined) return undefined;
    const { record } = draft;
    const parentPart = this.#parentPart(known);
    const storeMs = storeTime.ms();
    const number = assign(draft, {
      agentId: agent.id,
      agentUid: agentOf(agent.record).uid,
      resources: bigintsOf(item.want.resources),
      placement: `best of ${choice.fitting} that fit, of ${choice.eligible} that could have it; score ${choice.score.toFixed(3)}`,
      storeMs,
    });
    const live = record.live.find((each) => each.number === number);
    if (live === undefined) throw new Error('an attempt that was just assigned is not there');
    const storeEpoch = store.status().epoch;
    const part: Part = {
      epoch: storeEpoch,
      checks: [
        fence,
        { key: agentKey(agent.id), revision: agent.revision },
        { key: taskKey(known.id), revision: known.revision },
        ...ledger.accounts.checks(item.owner),
        ...(parentPart?.checks ?? []),
      ],
      puts: [
        { key: taskKey(known.id), value: encodeTask(record) },
        attemptDelivery({
          ...{ record, live, storeMs, storeEpoch },
          sessionEpoch: sessionOf(directory, this.#namespace, agent.id),
          acceptWithinMs: config.acceptWithinMs,
        }),
        ...(parentPart?.puts ?? []),
      ],
    };
    const undoHolds = ledger.holdAttempt(known.id, number, item, agent.id);
    const weight = ledger.accounts.weight(item.owner);
    this.#shares.charge(item.owner, 1, weight);
    this.#options.metrics.taskAssigned(Math.max(0, storeMs - item.sinceMs));
    return {
      part,
      undo: () => {
        // The view may show it all the same.
        const present = tasks.get(this.#namespace, known.id);
        if (present?.record.live.some((each) => each.number === number) === true) return;
        undoHolds();
        this.#shares.refund(item.owner, 1, weight);
      },
    };
  }

  /** What a child's first assignment takes of its parent. */
  #parentPart({ record }: KnownTask): Pick<Part, 'checks' | 'puts'> | undefined {
    const wanted = budgetsOfParent(record);
    const parent = wanted && this.#options.tasks.get(this.#namespace, specOf(record).parentTaskId);
    if (wanted === undefined || parent === undefined) return undefined;
    const next = copyTask(parent);
    next.childrenHeld = sum(next.childrenHeld, wanted);
    const key = taskKey(parent.id);
    return { checks: [{ key, revision: parent.revision }], puts: [{ key, value: encodeTask(next) }] };
  }

  #grantAllocation(item: Item, choice: Choice, fence: Check): Grant {
    const { ledger, directory, allocations, storeTime, store } = this.#options;
    const known = allocations.get(this.#namespace, item.id);
    const agent = directory.get(this.#namespace, choice.agentId);
    if (known === undefined || agent === undefined)
      throw new Error('an allocation without its record or agent');
    const key = allocationKey(item.id);
    const uid = agentOf(agent.record).uid;
    const undoHolds = ledger.holdAllocation(item, agent.id);
    const weight = ledger.accounts.weight(item.owner);
    this.#shares.charge(item.owner, 1, weight);
    return {
      part: {
        epoch: store.status().epoch,
        checks: [
          fence,
          { key: agentKey(agent.id), revision: agent.revision },
          { key, revision: known.revision },
          ...ledger.accounts.checks(item.owner),
        ],
        puts: [
          { key, value: encodeAllocation(granted(known.record, { id: agent.id, uid }, storeTime.ms())) },
        ],
      },
      undo: () => {
        undoHolds();
        this.#shares.refund(item.owner, 1, weight);
      },
    };
  }

  #store(item: Item, grant: Grant): void {
    const { merged, views, background, log } = this.#options;
    this.#underway.add(item.key);
    background.run('place work', async () => {
      let pauseMs = 0;
      try {
        const outcome = await merged.commit(this.#namespace, () => grant.part);
        if (outcome.kind === 'committed') {
          await views.waitFor(this.#namespace, outcome.revision, VIEW_MS).catch(() => {});
          this.#underway.delete(item.key);
          return;
        }
        this.#conflicted(outcome.key, grant.part);
        await views.waitFor(this.#namespace, outcome.revision, VIEW_MS).catch(() => {});
      } catch (error) {
        pauseMs = PAUSE_MS;
        if (!(error instanceof StoreUnavailableError)) {
          log.warn({ namespace: this.#namespace, err: error }, 'a placement could not be stored');
        } else if (error.outcome === 'unknown') await this.#settleUnknown();
      }
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
      this.#underway.delete(item.key);
      grant.undo();
      this.#again(item);
    });
  }

  #conflicted(key: string, { checks }: Part): void {
    const fence = checks?.[0];
    if (fence !== undefined && fence.key === key && key.startsWith('lease/')) {
      this.#options.refused(this.#namespace);
    }
  }

  /** Whether a commit whose answer was lost was stored is seen once this replica has caught up with the store. */
  async #settleUnknown(): Promise<void> {
    const { store, views } = this.#options;
    for (let tries = 0; tries < 300 && !this.#closed; tries += 1) {
      try {
        const { revision } = await store.position(this.#namespace);
        await views.waitFor(this.#namespace, revision, VIEW_MS);
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    }
  }

  /** It waits again, if it still does. */
  #again(item: Item): void {
    const { tasks, allocations } = this.#options;
    if (item.kind === 'task') {
      const known = tasks.get(this.#namespace, item.id);
      if (known !== undefined) this.taskChanged(undefined, known);
    } else {
      const known = allocations.get(this.#namespace, item.id);
      const again = known && itemOfAllocation(known, this.#options.config.agingMs);
      if (again !== undefined) this.itemChanged(item.key, again);
    }
  }

  #runMoves(fence: Check): void {
    const { tasks, ledger } = this.#options;
    for (const id of this.#moves) {
      const known = tasks.get(this.#namespace, id);
      const key = `move/${id}`;
      if (this.#underway.has(key)) continue;
      const [live] = known?.record.live ?? [];
      const target = known?.record.moveToAgentId ?? '';
      if (
        known === undefined ||
        target === '' ||
        known.record.live.length !== 1 ||
        !live ||
        !isPresent(live)
      ) {
        this.#moves.delete(id);
        continue;
      }
      const item = { ...itemOfTask(known, 0), key };
      const wanted = ledger.pool.classOf(item.want);
      const fits = target !== live.agentId && ledger.pool.fits(wanted, target);
      ledger.pool.release(wanted);
      const admitted = ledger.accounts.admits({ ...item.hold, budgets: {} }, this.#options.storeTime.ms());
      this.#moves.delete(id);
      if (!fits || admitted !== undefined) {
        this.#dropMove(known, item, `agent ${target} has no room for it now`);
        continue;
      }
      const choice = { agentId: target, score: 1, fitting: 1, eligible: 1 };
      const grant = this.#grantTask(known, draftOf(known), item, choice, fence);
      if (grant !== undefined) this.#store(item, grant);
    }
  }

  #dropMove(known: KnownTask, item: Item, why: string): void {
    const { events } = this.#options;
    const draft = draftOf(known);
    const target = draft.record.moveToAgentId;
    clearMove(draft.record);
    const key = taskKey(known.id);
    const event = events.append({
      type: 'task.move_failed',
      severity: Event_Severity.WARNING,
      message: `task ${known.id} stays on ${taskOf(known.record).agentId}: ${why}`,
      actor: known.record.moveActor || 'rule:scheduler',
      agentId: taskOf(known.record).agentId,
      attributes: { task_id: known.id, to_agent_id: target },
    });
    const part: Part = {
      checks: [{ key, revision: known.revision }],
      puts: [{ key, value: encodeTask(draft.record) }],
      appends: [event],
    };
    this.#store(item, { part, undo: () => {} });
  }

  /** What has waited for too long for room has an agent kept free: else what is smaller would always be before it. */
  #keepFree(nowMs: number): void {
    const { config, ledger } = this.#options;
    for (const [agentId, key] of this.#keptFree) {
      const lane = this.waiting.laneOf(key);
      if (lane === undefined || !ledger.pool.couldFit(lane.group.class, agentId)) {
        this.#keptFree.delete(agentId);
        this.#roomOn.add(agentId);
        this.plan();
      }
    }
    if (config.reserveAfterMs === 0 || this.#keptFree.size > 0) return;
    let oldest: { item: Item; group: Group } | undefined;
    for (const group of this.waiting.groups()) {
      if (!group.roomBlocked) continue;
      for (const lane of group.lanes.values()) {
        const item = lane.line.first();
        if (item === undefined || lane.quotaBlocked || nowMs - item.sinceMs < config.reserveAfterMs) continue;
        if (oldest === undefined || item.sinceMs < oldest.item.sinceMs) oldest = { item, group };
      }
    }
    if (oldest === undefined) return;
    const agentId = ledger.pool.easiestToFree(oldest.group.class);
    if (agentId !== undefined) this.#keptFree.set(agentId, oldest.item.key);
  }
}

function excluded(item: Item, nowMs: number): ReadonlySet<string> | undefined {
  if (item.refusals.size === 0) return undefined;
  const left = new Set<string>();
  for (const [agentId, untilMs] of item.refusals) if (untilMs > nowMs) left.add(agentId);
  return left.size === 0 ? undefined : left;
}
