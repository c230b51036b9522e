import { PlanRebalanceRequest_Goal } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { amountOf } from '../amounts.ts';
import { costSecondsOf, mayMove, type PlacedTask, type WaitingTask } from './fleet.ts';
import { type ModelAgent, shareOf } from './fleet-model.ts';
import { type Bundle, isWorth, type Planning, takeBack } from './planning.ts';

/** Waiting tasks that are looked at. */
const MAX_WAITING = 32;
/** Agents on which room is tried to be made for one. */
const MAX_AGENTS = 16;
const NONE: ReadonlySet<string> = new Set();

/** Makes room for tasks that wait for it and find none. */
export function* placeWaiting(planning: Planning, roomless: readonly WaitingTask[]): Generator<void, void> {
  for (const waiting of roomless.slice(0, MAX_WAITING)) {
    yield;
    if (planning.exhausted) return;
    yield* makeRoom(planning, waiting);
  }
}

function* makeRoom(planning: Planning, waiting: WaitingTask): Generator<void, void> {
  let best: { agentId: string; moves: Bundle['moves'] } | undefined;
  for (const entry of nearest(planning, waiting)) {
    yield;
    if (planning.exhausted) break;
    const { id } = entry.agent;
    const stays = whatStays(planning, waiting, entry);
    if (stays === 'not movable') {
      for (const task of planning.tasksOn(id)) if (!mayMove(task)) planning.notMovable.add(task.id);
    }
    if (stays !== undefined) continue;
    const bundle = yield* cleared(planning, waiting, entry);
    if (bundle === undefined) continue;
    const { moves } = bundle;
    takeBack(bundle);
    if (isWorth(moves) && (best === undefined || isCheaper(moves, best.moves))) best = { agentId: id, moves };
  }
  if (best === undefined) return;
  const again: Bundle = { moves: best.moves, undos: [] };
  for (const { task, to } of best.moves) {
    const undo = planning.try(task, to);
    if (undo === undefined) {
      takeBack(again);
      return;
    }
    again.undos.push(undo);
  }
  if (planning.settle(again)) planning.reserve(waiting, best.agentId);
}

/** Agents that are large enough, those that lack least first. */
function nearest(planning: Planning, { want, exclude }: WaitingTask): ModelAgent[] {
  const { model, targets } = planning;
  const some: { entry: ModelAgent; lack: number }[] = [];
  for (const entry of model.agents()) {
    const { agent, reservable, reserved, keys } = entry;
    if (!agent.available || keys.size === 0) continue;
    if (exclude.has(agent.id) || targets.has(agent.id) || model.fleet.keptFree.has(agent.id)) continue;
    if (want.capability !== '' && !agent.capabilities.some(({ name }) => name === want.capability)) continue;
    let lack = 0;
    for (const [name, amount] of Object.entries(want.resources)) {
      const most = amountOf(reservable, name);
      if (most < amount) lack = Number.POSITIVE_INFINITY;
      else if (most > 0) lack += Math.max(0, amount - (most - (reserved.get(name) ?? 0))) / most;
    }
    if (lack !== Number.POSITIVE_INFINITY) some.push({ entry, lack });
  }
  some.sort((a, b) => a.lack - b.lack || (a.entry.agent.id < b.entry.agent.id ? -1 : 1));
  return some.slice(0, MAX_AGENTS).map(({ entry }) => entry);
}

/** Why it would not fit there although all that may be moved were gone; undefined: it would. */
function whatStays(
  planning: Planning,
  { want }: WaitingTask,
  { agent }: ModelAgent,
): 'not movable' | 'other' | undefined {
  const { model } = planning;
  const tasks = planning.tasksOn(agent.id);
  const fitsWithout = (some: readonly PlacedTask[]): boolean =>
    model.without(
      some.map(({ key }) => key),
      () => model.fits(want, agent.id),
    );
  const movable = tasks.filter((task) => mayMove(task));
  if (fitsWithout(movable)) return undefined;
  return movable.length < tasks.length && fitsWithout(tasks) ? 'not movable' : 'other';
}

/** Room made on an agent: by one move if one does, else by moves of the cheapest, else by moves of the largest. */
function* cleared(
  planning: Planning,
  waiting: WaitingTask,
  entry: ModelAgent,
): Generator<void, Bundle | undefined> {
  const { model } = planning;
  const { id } = entry.agent;
  const cheapest = planning.movableOn(id);
  for (const task of cheapest) {
    if (!model.without([task.key], () => model.fits(waiting.want, id))) continue;
    const bundle = yield* emptied(planning, waiting, entry, [task]);
    if (bundle !== undefined) return bundle;
  }
  const share = ({ want }: PlacedTask): number => shareOf(entry, Object.entries(want.resources));
  const largest = cheapest.toSorted((a, b) => share(b) - share(a));
  return (
    (yield* emptied(planning, waiting, entry, cheapest)) ??
    (yield* emptied(planning, waiting, entry, largest))
  );
}

/** Moves some tasks off until it fits, and leaves out those without which it fits as well. */
function* emptied(
  planning: Planning,
  { want }: WaitingTask,
  entry: ModelAgent,
  tasks: readonly PlacedTask[],
): Generator<void, Bundle | undefined> {
  const { model } = planning;
  const { id } = entry.agent;
  const done: { task: PlacedTask; to: string; undo: () => void }[] = [];
  for (const task of tasks) {
    if (model.fits(want, id) || done.length === planning.left) break;
    yield;
    const moved = planning.move(task, NONE);
    if (moved !== undefined) done.push({ task, ...moved });
  }
  if (!model.fits(want, id)) {
    takeBack({ moves: [], undos: done.map(({ undo }) => undo) });
    return undefined;
  }
  const needed: typeof done = [];
  // The dearest came last.
  for (const each of done.reverse()) {
    each.undo();
    if (model.fits(want, id)) continue;
    const undo = planning.try(each.task, each.to);
    if (undo !== undefined) needed.unshift({ ...each, undo });
  }
  const bundle: Bundle = { moves: [], undos: needed.map(({ undo }) => undo) };
  if (!model.fits(want, id)) {
    takeBack(bundle);
    return undefined;
  }
  // Where it finds room it takes this share.
  const gain =
    Math.max(shareOf(entry, Object.entries(want.resources)), Number.MIN_VALUE) / Math.max(1, needed.length);
  for (const { task, to } of needed) {
    const goal = PlanRebalanceRequest_Goal.PLACE_WAITING;
    const costSeconds = costSecondsOf(task);
    const detail = `a task that waits gets room on ${id}`;
    bundle.moves.push({ task, to, goal, gain, costSeconds, detail });
  }
  return bundle;
}

const isCheaper = (a: Bundle['moves'], b: Bundle['moves']): boolean => {
  const cost = (moves: Bundle['moves']) => moves.reduce((sum, { costSeconds }) => sum + costSeconds, 0);
  return cost(a) < cost(b) || (cost(a) === cost(b) && a.length < b.length);
};
