import { TaskAttempt_State } from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { wantOf } from '../../coordination/tasks/items.ts';
import { comesBefore } from '../../coordination/tasks/line.ts';
import { attemptOf } from '../../coordination/tasks/task-draft.ts';
import { isPresent, type KnownTask, specOf } from '../../coordination/tasks/task-record.ts';
import type { TaskView } from '../../coordination/tasks/task-view.ts';
import type { Item, Waiting } from '../../coordination/tasks/waiting.ts';
import { allocationKey, allocationOf, wantOf as wantOfAllocation } from '../allocations/allocation-record.ts';
import type { AllocationView } from '../allocations/allocation-view.ts';
import type { AgentPool } from '../pool/agent-pool.ts';
import type { Fleet, PlacedTask, Resident, WaitingTask } from './fleet.ts';

/** What is reserved and what waits, by namespace. */
export interface Placing {
  ledger(namespace: string): { readonly pool: AgentPool };
  scheduler(namespace: string): {
    readonly waiting: Pick<Waiting, 'groups'>;
    readonly keptFree: ReadonlyMap<string, string>;
  };
}

export interface FleetReaderOptions {
  directory: AgentDirectory;
  tasks: TaskView;
  allocations: AllocationView;
  placing: Placing;
  clock: Clock;
}

/** Older reports of usage do not count. */
export const FRESH_MS = 60_000;
/** A task that was moved is left alone for so long. */
const LEFT_ALONE_MS = 600_000;
/** Of those that want the same and have the same owner, how many are looked at. */
const WAITING_OF_A_LANE = 8;
const MAX_WAITING = 256;

/** Reads what plans are made from. */
export class FleetReader {
  readonly #options: FleetReaderOptions;

  constructor(options: FleetReaderOptions) {
    this.#options = options;
  }

  /** The real one: it must not be changed. Undefined: the namespace has no agents. */
  pool(namespace: string): AgentPool | undefined {
    const { directory, placing } = this.#options;
    // Whoever names a namespace that is not there leaves nothing behind.
    return directory.count(namespace) === 0 ? undefined : placing.ledger(namespace).pool;
  }

  task(namespace: string, id: string): KnownTask | undefined {
    return this.#options.tasks.get(namespace, id);
  }

  /** Tasks with an attempt on an agent. */
  on(namespace: string, agentId: string): KnownTask[] {
    const { tasks } = this.#options;
    return [...tasks.on(namespace, agentId)].flatMap((id) => tasks.get(namespace, id) ?? []);
  }

  /** As it is at this moment, read step by step; undefined: the namespace has no agents. */
  *read(namespace: string, storeMs: number): Generator<void, Fleet | undefined> {
    const { tasks, allocations, placing, clock } = this.#options;
    const real = this.pool(namespace);
    if (real === undefined) return undefined;
    // All of it is taken at once, before the first step: records do not change, others take their place.
    const known = [...tasks.all(namespace)];
    const granted = allocations.active(namespace);
    const { waiting, keptFree } = placing.scheduler(namespace);
    const waits = waitingTasks(waiting, storeMs);
    const kept = new Set(keptFree.keys());
    const pool = yield* real.copying();
    const placed: PlacedTask[] = [];
    const others: Resident[] = [];
    for (const each of known) {
      const task = placedTask(each, storeMs);
      if (task !== undefined) placed.push(task);
      else others.push(...residents(each));
      yield;
    }
    for (const { id, record } of granted) {
      const { agentId } = allocationOf(record);
      if (agentId !== '') others.push({ key: allocationKey(id), agentId, want: wantOfAllocation(record) });
    }
    return {
      pool,
      tasks: placed,
      others,
      waiting: waits,
      keptFree: kept,
      reportsSinceMs: clock.wallMs() - FRESH_MS,
    };
  }
}

/** A task that may be moved, as far as how it stands allows; undefined: it has no attempt, is being moved, or was lately. */
export function placedTask(known: KnownTask, storeMs: number): PlacedTask | undefined {
  const { id, record } = known;
  const [live] = record.live;
  if (live === undefined || record.live.length > 1) return undefined;
  if (!isPresent(live) || record.moveToAgentId !== '') return undefined;
  const attempt = attemptOf(record, live.number);
  const accepted = attempt?.state === TaskAttempt_State.RUNNING;
  const sinceMs = attempt?.acceptTime === undefined ? storeMs : msFromTimestamp(attempt.acceptTime);
  if (attempt?.replacement === true && storeMs - sinceMs < LEFT_ALONE_MS) return undefined;
  const { movable, priority } = specOf(record);
  const exclude = record.refusals.filter(({ untilMs }) => Number(untilMs) > storeMs);
  return {
    id,
    attempt: live.number,
    key: live.deliveryId,
    agentId: live.agentId,
    want: wantOf(known),
    movable,
    accepted,
    ranMs: Math.max(0, storeMs - sinceMs),
    priority,
    exclude: new Set(exclude.map(({ agentId }) => agentId)),
  };
}

/** Whether the task has room on an agent that it is about to leave. */
export const isLeaving = ({ record }: KnownTask, agentId: string): boolean =>
  (record.moveToAgentId !== '' && record.moveToAgentId !== agentId) ||
  (record.live.length > 1 && record.live[0]?.agentId === agentId);

function residents(known: KnownTask): Resident[] {
  const want = wantOf(known);
  return known.record.live.map(({ deliveryId, agentId }) => ({ key: deliveryId, agentId, want }));
}

/** Tasks that only room is missing for, as far as is known here, in the order in which they come. */
function waitingTasks(waiting: Pick<Waiting, 'groups'>, storeMs: number): WaitingTask[] {
  const items: Item[] = [];
  for (const { lanes } of waiting.groups()) {
    for (const { line, quotaBlocked } of lanes.values()) {
      if (quotaBlocked) continue;
      let count = 0;
      for (const item of line) {
        if (item.kind === 'task') items.push(item);
        count += 1;
        if (count === WAITING_OF_A_LANE) break;
      }
    }
  }
  items.sort((a, b) => (comesBefore(a, b) ? -1 : 1));
  return items.slice(0, MAX_WAITING).map(({ id, want, refusals }) => {
    const exclude = [...refusals].filter(([, untilMs]) => untilMs > storeMs);
    return { id, want, exclude: new Set(exclude.map(([agentId]) => agentId)) };
  });
}
