import { PlanRebalanceRequest_Goal } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { FleetModel } from './fleet-model.ts';
import { freeAgents } from './free-agents.ts';
import { placeWaiting } from './place-waiting.ts';
import { type Goal, type PlannedMove, Planning } from './planning.ts';
import { relieveHot } from './relieve-hot.ts';

const { FREE_AGENTS, PLACE_WAITING, RELIEVE_HOT } = PlanRebalanceRequest_Goal;

export interface PlanOptions {
  model: FleetModel;
  /** Empty: all. */
  goals: ReadonlySet<Goal>;
  maxMoves: number;
}

export interface PlanOutcome {
  /** In the order in which they are to be made; each task once. */
  moves: PlannedMove[];
  /** Tasks that would have had to be moved and may not be. */
  notMovable: number;
  /** What it brings, in a sentence. */
  summary: string;
}

/** Looks for moves, step by step: whoever runs it may do something else in between. Pure but for the model. */
export function* planMoves({ model, goals, maxMoves }: PlanOptions): Generator<void, PlanOutcome> {
  const planning = new Planning({ model, maxMoves });
  const wanted = (goal: Goal): boolean => goals.size === 0 || goals.has(goal);
  const roomless = planning.reserveForWaiting();
  // First what waits, last what only tidies up: a goal never undoes what an earlier one has done.
  if (wanted(PLACE_WAITING)) yield* placeWaiting(planning, roomless);
  if (wanted(RELIEVE_HOT)) yield* relieveHot(planning);
  if (wanted(FREE_AGENTS)) yield* freeAgents(planning);
  const { moves, notMovable } = planning;
  return { moves, notMovable: notMovable.size, summary: summaryOf(moves, notMovable.size) };
}

function summaryOf(moves: readonly PlannedMove[], notMovable: number): string {
  const fixed =
    notMovable === 0
      ? ''
      : `; ${counted(notMovable, 'task', 'tasks')} would have to be moved and may not be while running`;
  if (moves.length === 0) return `nothing to move${fixed}`;
  const of = (goal: Goal) => moves.filter((move) => move.goal === goal);
  const agents = (goal: Goal) => new Set(of(goal).map(({ task }) => task.agentId)).size;
  const parts: string[] = [];
  if (agents(PLACE_WAITING) > 0) {
    parts.push(`makes room for tasks that wait on ${counted(agents(PLACE_WAITING), 'agent', 'agents')}`);
  }
  if (agents(RELIEVE_HOT) > 0) parts.push(`relieves ${counted(agents(RELIEVE_HOT), 'agent', 'agents')}`);
  if (agents(FREE_AGENTS) > 0) parts.push(`frees ${counted(agents(FREE_AGENTS), 'agent', 'agents')}`);
  return `${counted(moves.length, 'move', 'moves')}: ${parts.join(', ')}${fixed}`;
}

const counted = (count: number, one: string, many: string): string => `${count} ${count === 1 ? one : many}`;
