import type {
  Move,
  RebalancePlan,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { hasEnded, type KnownTask } from '../../coordination/tasks/task-record.ts';
import { type Fleet, mayMove, type PlacedTask } from './fleet.ts';
import { FleetModel } from './fleet-model.ts';
import type { OrderedMove } from './order-moves.ts';

/** Changes that are named. */
const MAX_NAMED = 3;

export type Checked = { kind: 'good'; moves: OrderedMove[] } | { kind: 'stale'; changes: string[] };

/**
 * Whether a plan can still be carried out: each task is where it was, at the same attempt, and may still be moved; and made
 * in their order all moves fit. What changes while it is looked at is refused by the revisions with which the moves are stored.
 * @param known the tasks as they were when the fleet was read
 */
export function* checkPlan(
  plan: RebalancePlan,
  fleet: Fleet | undefined,
  known: ReadonlyMap<string, KnownTask | undefined>,
): Generator<void, Checked> {
  const changes: string[] = [];
  const moves: OrderedMove[] = [];
  if (fleet === undefined) return { kind: 'stale', changes: ['there are no agents any more'] };
  const model = yield* FleetModel.of(fleet);
  const placed = new Map(fleet.tasks.map((each) => [each.id, each]));
  for (const move of plan.moves) {
    yield;
    const now = known.get(move.taskId);
    const at = placed.get(move.taskId);
    const change = changed(move, now, at) ?? (at && refusal(model, at, move));
    if (change !== undefined) changes.push(change);
    else if (now !== undefined) moves.push({ known: now, to: move.toAgentId });
  }
  if (changes.length === 0) return { kind: 'good', moves };
  const more = changes.length - MAX_NAMED;
  return {
    kind: 'stale',
    changes: more > 0 ? [...changes.slice(0, MAX_NAMED), `and ${more} more`] : changes,
  };
}

/** What is not as it was with the task, in words. */
function changed(move: Move, known: KnownTask | undefined, at: PlacedTask | undefined): string | undefined {
  const { taskId, fromAgentId, attempt } = move;
  const name = `task ${taskId}`;
  if (known === undefined) return `${name} is not there any more`;
  if (hasEnded(known.record)) return `${name} has ended`;
  if (known.record.moveToAgentId !== '') {
    return `${name} is being moved to ${known.record.moveToAgentId} already`;
  }
  if (known.record.live.length > 1) return `${name} has two attempts`;
  const [live] = known.record.live;
  if (live === undefined) return `${name} waits`;
  if (live.agentId !== fromAgentId) return `${name} is on ${live.agentId}, not on ${fromAgentId}`;
  if (live.number !== attempt) return `${name} is at attempt ${live.number}, not ${attempt}`;
  if (at === undefined) return `${name} cannot be moved now: its agent is lost`;
  if (!mayMove(at)) return `${name} was accepted by ${fromAgentId} meanwhile, and is not movable`;
  return undefined;
}

/** Makes the move in the model; why it cannot be made, in words. */
function refusal(model: FleetModel, task: PlacedTask, { taskId, toAgentId }: Move): string | undefined {
  const target = model.agent(toAgentId);
  if (target === undefined) return `agent ${toAgentId} is not there any more`;
  if (!target.agent.available) return `agent ${toAgentId} is ${target.agent.unavailableWhy}`;
  if (task.exclude.has(toAgentId)) return `agent ${toAgentId} refused task ${taskId} of late`;
  if (model.fleet.keptFree.has(toAgentId)) return `agent ${toAgentId} is kept free for something that waits`;
  if (!model.fits(task.want, toAgentId)) {
    return `agent ${toAgentId} has no room for task ${taskId} any more, or constraints exclude it`;
  }
  if (model.move(task, toAgentId) !== undefined) return undefined;
  return `moving task ${taskId} to ${toAgentId} would break a constraint of another one now`;
}
