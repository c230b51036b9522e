import { PlanRebalanceRequest_Goal } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { costSecondsOf, mayMove, type PlacedTask } from './fleet.ts';
import { fillOf, type ModelAgent, shareOf } from './fleet-model.ts';
import { type Bundle, type Planning, percent, takeBack } from './planning.ts';

/** Nearly empty: no more than this share of its scarcest resource is taken. */
const NEARLY_EMPTY = 0.25;
/** Others are filled to this level at most, well below the one from which an agent can be hot. */
const FILL_TO = 0.7;

/** Agents that have little to do, emptiest first. */
function nearlyEmpty({ model }: Planning): ModelAgent[] {
  const some = [...model.agents()].filter(
    (entry) => entry.agent.available && entry.keys.size > 0 && reservedShare(entry) <= NEARLY_EMPTY,
  );
  return some.sort(
    (a, b) => a.keys.size - b.keys.size || fillOf(a) - fillOf(b) || (a.agent.id < b.agent.id ? -1 : 1),
  );
}

const reservedShare = (entry: ModelAgent): number => shareOf(entry, entry.reserved);

/** Empties agents that have little to do, where others that are in use have room. */
export function* freeAgents(planning: Planning): Generator<void, void> {
  // What is empty stays so.
  const unused = new Set(planning.unused);
  const expectant = planning.model.expectant();
  for (const source of nearlyEmpty(planning)) {
    yield;
    if (planning.exhausted) return;
    const { id } = source.agent;
    if (planning.targets.has(id) || planning.sources.has(id) || expectant.has(id)) continue;
    const tasks = planning.tasksOn(id);
    // Allocations, and tasks that are being moved, stay where they are.
    if (tasks.length < source.keys.size) continue;
    const fixed = tasks.filter((task) => !mayMove(task));
    const bundle = yield* emptied(planning, source, tasks, unused);
    if (bundle === undefined) continue;
    if (fixed.length > 0) {
      takeBack(bundle);
      for (const task of fixed) planning.notMovable.add(task.id);
    } else if (planning.settle(bundle)) unused.add(id);
  }
}

/** All of it moved to others; undefined: not all of it can be. */
function* emptied(
  planning: Planning,
  source: ModelAgent,
  tasks: readonly PlacedTask[],
  unused: ReadonlySet<string>,
): Generator<void, Bundle | undefined> {
  const { id } = source.agent;
  if (tasks.length > planning.left) return undefined;
  const bundle: Bundle = { moves: [], undos: [] };
  const goal = PlanRebalanceRequest_Goal.FREE_AGENTS;
  const fill = percent(reservedShare(source));
  const count = tasks.length === 1 ? 'this task alone' : `${tasks.length} tasks`;
  for (const task of tasks) {
    yield;
    const moved = planning.move(task, unused, (target) => fillOf(target) <= FILL_TO);
    if (moved === undefined) {
      takeBack(bundle);
      return undefined;
    }
    bundle.undos.push(moved.undo);
    bundle.moves.push({
      task,
      to: moved.to,
      goal,
      // The whole agent is free once all of them have gone.
      gain: 1 / tasks.length,
      costSeconds: costSecondsOf(task),
      detail: `${id} has ${count} and ${fill} taken; it becomes free`,
    });
  }
  return bundle;
}
