import { Agent_Liveness } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  Task_State,
  TaskAttempt_State,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { TaskRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromDuration, msFromTimestamp } from '../../../lib/proto-time.ts';
import type { Part } from '../../../state/merged-commits.ts';
import { StoreUnavailableError } from '../../../state/store.ts';
import type { HeldLease } from '../../agent/care/leases.ts';
import type { KnownAgent } from '../../agent/directory.ts';
import { agentOf } from '../../agent/record.ts';
import { amountsOf } from '../../resource/amounts.ts';
import type { Ledger } from '../../resource/ledger.ts';
import { mailKey } from '../delivery-record.ts';
import { catchUp } from './catch-up.ts';
import { DueTasks } from './due-tasks.ts';
import type { SchedulerPorts } from './scheduler-ports.ts';
import { answerAsk, settleTasks } from './settling-budgets.ts';
import { attemptOf, type Draft, draftOf, finish, hasBegun } from './task-draft.ts';
import { attemptDueMs, nextDueMs } from './task-dues.ts';
import { stateName, taskEvent } from './task-events.ts';
import { encodeTask, hasEnded, type KnownTask, ownerOf, specOf, taskKey, taskOf } from './task-record.ts';
import { fail, loseAgent, refuse } from './task-rules.ts';

export interface DutiesOptions extends SchedulerPorts {
  namespace: string;
  ledger: Ledger;
}

/** Tasks that one round looks at, of each kind. */
const AT_A_TIME = 256;
/** What could not be done is looked at again after this. */
const AGAIN_MS = 500;
/** After a change of hands agents get this time to say what they hold before offers count as unanswered. */
const COLLECT_MS = 10_000;

/**
 * What follows from time and from other changes, done by the replica that schedules the namespace: deadlines, offers that nobody
 * answers, agents that have left, tasks below one that has ended, budgets to be settled. All of it derives from what is stored.
 */
export class Duties {
  readonly #options: DutiesOptions;
  readonly #due = new DueTasks();
  readonly #orphans = new Set<string>();
  readonly #leavers = new Set<string>();
  readonly #unsettled = new Set<string>();
  readonly #asked = new Set<string>();
  readonly #underway = new Set<string>();
  #lease: HeldLease | undefined;
  #planned = false;
  #closed = false;

  constructor(options: DutiesOptions) {
    this.#options = options;
  }

  close(): void {
    this.#closed = true;
  }

  /** This replica schedules from now on. */
  begin(lease: HeldLease): void {
    const { directory, tasks, namespace } = this.#options;
    this.#lease = lease;
    for (const { record } of tasks.all(namespace)) {
      for (const { agentId, agentUid } of record.live) {
        if (isGone(directory.get(namespace, agentId), agentUid)) this.#leavers.add(agentId);
      }
    }
    this.#plan();
  }

  agentChanged(before: KnownAgent | undefined, after: KnownAgent | undefined): void {
    const known = after ?? before;
    const uid = before === undefined ? undefined : agentOf(before.record).uid;
    if (known === undefined || !isGone(after, uid)) return;
    const { tasks, namespace, fence } = this.#options;
    // Whoever begins to schedule looks through all of them.
    if (fence(namespace) === undefined || tasks.on(namespace, known.id).size === 0) return;
    this.#leavers.add(known.id);
    this.#plan();
  }

  taskChanged(before: KnownTask | undefined, after: KnownTask | undefined): void {
    const { tasks, namespace, config, metrics } = this.#options;
    if (after === undefined) {
      if (before !== undefined) this.#forget(before.id);
      if (before !== undefined) this.#maySettle(specOf(before.record).parentTaskId);
      return;
    }
    const { id, record } = after;
    this.#due.set(id, nextDueMs(record, config.acceptWithinMs));
    const { parentTaskId } = specOf(record);
    if (!hasEnded(record)) {
      if (Object.keys(record.askedBudgets).length > 0) this.#later(this.#asked, id);
      if (parentTaskId !== '' && isOver(tasks.get(namespace, parentTaskId))) this.#later(this.#orphans, id);
      return;
    }
    if (before !== undefined && !hasEnded(before.record)) {
      const { state, createTime, endTime } = taskOf(record);
      const elapsedMs = createTime && endTime ? msFromTimestamp(endTime) - msFromTimestamp(createTime) : 0;
      // Each replica hears of it: the one that schedules counts it.
      if (this.#options.fence(namespace) !== undefined) metrics.taskEnded(stateName(state), elapsedMs);
    }
    for (const child of tasks.openChildren(namespace, id)) this.#later(this.#orphans, child.id);
    this.#orphans.delete(id);
    this.#asked.delete(id);
    if (!record.settled) this.#later(this.#unsettled, id);
    else {
      this.#unsettled.delete(id);
      this.#maySettle(parentTaskId);
    }
  }

  /** A parent may have waited for one below it that has changed. */
  #maySettle(id: string): void {
    const { tasks, namespace } = this.#options;
    const known = id === '' ? undefined : tasks.get(namespace, id);
    if (known !== undefined && hasEnded(known.record) && !known.record.settled)
      this.#later(this.#unsettled, id);
  }

  /** Call it ten times a second, while this replica schedules. */
  async run(nowMs: number): Promise<void> {
    const fence = this.#options.fence(this.#options.namespace);
    if (fence === undefined || this.#closed) return;
    for (const id of this.#due.take(nowMs, AT_A_TIME)) this.#isDue(id, nowMs);
    await this.#work(nowMs);
  }

  #forget(id: string): void {
    this.#due.set(id, undefined);
    for (const set of [this.#orphans, this.#unsettled, this.#asked]) set.delete(id);
  }

  #later(set: Set<string>, id: string): void {
    set.add(id);
    this.#plan();
  }

  #plan(): void {
    if (this.#planned || this.#closed) return;
    this.#planned = true;
    queueMicrotask(() => {
      this.#planned = false;
      const { fence, namespace, background, storeTime } = this.#options;
      if (this.#closed || fence(namespace) === undefined) return;
      background.run('duties of scheduling', () => this.#work(storeTime.ms()));
    });
  }

  async #work(nowMs: number): Promise<void> {
    const { tasks, namespace, directory } = this.#options;
    for (const agentId of take(this.#leavers, AT_A_TIME)) {
      for (const id of tasks.on(namespace, agentId)) {
        this.#change(id, 'rule:agent_gone', (draft, known) => {
          for (const live of known.record.live) {
            if (live.agentId !== agentId || !isGone(directory.get(namespace, agentId), live.agentUid))
              continue;
            const detail = `agent ${agentId} has left or was deregistered`;
            const { maxAttempts } = this.#options.config;
            loseAgent(draft, live.number, { storeMs: nowMs, detail, maxAttempts, mayReturn: false });
          }
        });
      }
    }
    for (const id of take(this.#orphans, AT_A_TIME)) {
      this.#change(id, 'rule:parent_ended', (draft, { record }) => {
        const parent = tasks.get(namespace, specOf(record).parentTaskId);
        if (parent !== undefined && !hasEnded(parent.record)) return;
        const state = parent === undefined ? '' : `: ${stateName(taskOf(parent.record).state)}`;
        finish(
          draft,
          Task_State.CANCELLED,
          `its parent ${specOf(record).parentTaskId} has ended${state}`,
          nowMs,
        );
      });
    }
    for (const id of take(this.#asked, AT_A_TIME)) {
      const known = tasks.get(namespace, id);
      if (known === undefined || this.#underway.has(id)) continue;
      const part = answerAsk(known, this.#options, nowMs);
      if (part !== undefined) this.#store(id, part, this.#reserveAsked(known));
    }
    // There are more than one round takes.
    if (this.#leavers.size + this.#orphans.size + this.#asked.size > 0) setImmediate(() => this.#plan());
    await this.#settle(nowMs);
  }

  /** What is granted counts at once: others may ask before it is seen. @returns what takes that back */
  #reserveAsked({ id, record }: KnownTask): () => void {
    const { accounts } = this.#options.ledger;
    const isRoot = specOf(record).parentTaskId === '';
    if (!isRoot || taskOf(record).attemptCount === 0) return () => {};
    const key = `asked/${id}`;
    const budgets = amountsOf(record.askedBudgets);
    accounts.hold(key, { owner: ownerOf(record), resources: {}, tasks: 0, budgets });
    return () => accounts.free(key);
  }

  async #settle(nowMs: number): Promise<void> {
    const { store, views, namespace, fence, refused } = this.#options;
    if (this.#unsettled.size === 0) return;
    const held = fence(namespace);
    if (held === undefined) return;
    const ids = [...this.#unsettled].slice(0, AT_A_TIME);
    const settled = settleTasks(ids, this.#options, nowMs);
    for (const id of [...settled.none, ...settled.early]) this.#unsettled.delete(id);
    if (this.#underway.has(SETTLING)) return;
    if (settled.part === undefined) {
      if (this.#unsettled.size > 0) setImmediate(() => this.#plan());
      return;
    }
    this.#underway.add(SETTLING);
    try {
      const { checks, ...rest } = settled.part;
      const outcome = await store.commit({ namespace, checks: [held, ...(checks ?? [])], ...rest });
      if (outcome.kind === 'committed') for (const id of settled.ids) this.#unsettled.delete(id);
      else if (outcome.kind === 'conflict' && outcome.key === held.key) refused(namespace);
      if (outcome.kind !== 'repeated')
        await views.waitFor(namespace, outcome.revision, AGAIN_MS).catch(() => {});
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
    } finally {
      this.#underway.delete(SETTLING);
    }
    if (this.#unsettled.size > 0)
      setTimeout(() => this.#plan(), settled.ids.length > 0 ? 0 : AGAIN_MS).unref();
  }

  #isDue(id: string, nowMs: number): void {
    const { tasks, namespace, config } = this.#options;
    const known = tasks.get(namespace, id);
    const dueMs = known && nextDueMs(known.record, config.acceptWithinMs);
    if (known === undefined || dueMs === undefined) return;
    if (dueMs > nowMs) {
      this.#due.set(id, dueMs);
      return;
    }
    this.#due.set(id, nowMs + AGAIN_MS);
    this.#change(id, 'rule:deadlines', (draft) => this.#overdue(draft, nowMs));
  }

  #overdue(draft: Draft, nowMs: number): void {
    const { config, clock } = this.#options;
    const { record } = draft;
    const task = taskOf(record);
    const spec = specOf(record);
    if (task.deadlineTime !== undefined && msFromTimestamp(task.deadlineTime) <= nowMs) {
      const afterMs = spec.deadline === undefined ? 0 : msFromDuration(spec.deadline);
      finish(draft, Task_State.TIMED_OUT, `it had not ended ${afterMs / 1000} s after its submission`, nowMs);
      return;
    }
    for (const live of [...record.live]) {
      // Its end may have been that of the task.
      if (!record.live.some(({ number }) => number === live.number)) continue;
      const attempt = attemptOf(record, live.number);
      if (live.lostUntilMs > 0n && Number(live.lostUntilMs) <= nowMs) {
        const detail = `agent ${live.agentId} did not come back in time`;
        const { maxAttempts } = config;
        loseAgent(draft, live.number, { storeMs: nowMs, detail, maxAttempts, mayReturn: false });
      } else if (attemptDueMs(record, live, config.acceptWithinMs) > nowMs) continue;
      else if (hasBegun(record, live.number)) {
        const timeoutMs = spec.attemptTimeout === undefined ? 0 : msFromDuration(spec.attemptTimeout);
        draft.withdrawn.push(...withdrawnBy(record, live.number));
        fail(draft, live.number, {
          state: TaskAttempt_State.TIMED_OUT,
          error: `it ran for longer than ${timeoutMs / 1000} s on ${live.agentId}`,
          retryable: true,
          storeMs: nowMs,
          maxAttempts: config.maxAttempts,
        });
      } else if (attempt?.state === TaskAttempt_State.OFFERED) {
        const sinceMs = clock.monoMs() - (this.#lease?.sinceMs ?? clock.monoMs());
        if (sinceMs < COLLECT_MS) continue;
        draft.withdrawn.push(...withdrawnBy(record, live.number));
        const error = `${live.agentId} did not answer`;
        refuse(draft, live.number, { state: TaskAttempt_State.UNANSWERED, error, storeMs: nowMs });
      }
    }
  }

  /** Changes a task as the view has it; a commit that fails because it is not so any more is looked at again. */
  #change(id: string, actor: string, change: (draft: Draft, known: KnownTask) => void): void {
    const { tasks, namespace, events } = this.#options;
    const known = tasks.get(namespace, id);
    if (known === undefined || hasEnded(known.record)) return;
    const draft = draftOf(known);
    const before = known.record;
    change(draft, known);
    if (!isChanged(before, draft)) return;
    const event = taskEvent(before, draft.record, actor);
    const key = taskKey(id);
    this.#store(id, {
      checks: [{ key, revision: known.revision }],
      puts: [{ key, value: encodeTask(draft.record) }],
      deletes: draft.withdrawn,
      appends: event === undefined ? [] : [events.append(event)],
    });
  }

  /** @param seen called when it was refused, or the view shows what became of it: never before that is known */
  #store(id: string, part: Part, seen: () => void = () => {}): void {
    const { merged, namespace, background, views, fence } = this.#options;
    const held = fence(namespace);
    if (held === undefined) {
      seen();
      return;
    }
    if (this.#underway.has(id)) {
      seen();
      setTimeout(() => this.#again(id, false), AGAIN_MS).unref();
      return;
    }
    this.#underway.add(id);
    background.run('change a task', async () => {
      try {
        const outcome = await merged.commit(namespace, () => ({
          ...part,
          checks: [held, ...(part.checks ?? [])],
        }));
        const isSeen = await views.waitFor(namespace, outcome.revision, AGAIN_MS).then(
          () => true,
          () => false,
        );
        if (outcome.kind === 'conflict') this.#again(id, outcome.key === held.key);
        else if (!isSeen && !(await this.#catchUp())) return;
        seen();
      } catch (error) {
        if (!(error instanceof StoreUnavailableError)) {
          seen();
          throw error;
        }
        if (error.outcome === 'unknown' && !(await this.#catchUp())) return;
        seen();
        setTimeout(() => this.#again(id, false), AGAIN_MS).unref();
      } finally {
        this.#underway.delete(id);
      }
    });
  }

  #catchUp(): Promise<boolean> {
    return catchUp(this.#options, () => this.#closed);
  }

  /** Whatever was to be done about it is found out anew. */
  #again(id: string, lost: boolean): void {
    const { tasks, namespace, refused, directory } = this.#options;
    if (lost) refused(namespace);
    const known = tasks.get(namespace, id);
    if (known === undefined || this.#closed) return;
    this.taskChanged(undefined, known);
    for (const { agentId, agentUid } of known.record.live) {
      if (isGone(directory.get(namespace, agentId), agentUid)) this.#later(this.#leavers, agentId);
    }
  }
}

const SETTLING = ' settling';

const isOver = (known: KnownTask | undefined): boolean => known === undefined || hasEnded(known.record);

/** Whether an agent is not there any more, or said goodbye: losses are dealt with elsewhere. */
function isGone(known: KnownAgent | undefined, uid: string | undefined): boolean {
  if (known === undefined) return true;
  const agent = agentOf(known.record);
  if (uid !== undefined && uid !== '' && agent.uid !== uid) return true;
  return agent.liveness === Agent_Liveness.LEFT;
}

function withdrawnBy(record: TaskRecord, number: number): string[] {
  const live = record.live.find((each) => each.number === number);
  return live === undefined ? [] : [mailKey(live.agentId, live.deliveryId)];
}

function isChanged(before: TaskRecord, { record, withdrawn }: Draft): boolean {
  const [was, is] = [taskOf(before), taskOf(record)];
  return (
    withdrawn.length > 0 ||
    was.state !== is.state ||
    was.failures !== is.failures ||
    before.live.length !== record.live.length
  );
}

function take<T>(set: Set<T>, limit: number): T[] {
  const some: T[] = [];
  for (const each of set) {
    if (some.length === limit) break;
    some.push(each);
  }
  for (const each of some) set.delete(each);
  return some;
}
