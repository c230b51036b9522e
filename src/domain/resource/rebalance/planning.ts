import type { PlanRebalanceRequest_Goal } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { costSecondsOf, mayMove, type PlacedTask, type WaitingTask } from './fleet.ts';
import type { FleetModel, ModelAgent, Undo } from './fleet-model.ts';
import { WaitingLine } from './waiting-line.ts';

export type Goal = PlanRebalanceRequest_Goal;

/** One move of a plan. */
export interface PlannedMove {
  task: PlacedTask;
  to: string;
  goal: Goal;
  /** The share of an agent that becomes free where it is wanted, 0 to 1. */
  gain: number;
  costSeconds: number;
  detail: string;
}

/** Moves that are worth something together only. */
export interface Bundle {
  moves: PlannedMove[];
  undos: Undo[];
}

/**
 * A whole agent that becomes free is worth so many seconds of work that is done again: an hour of an agent. The rule by which
 * moves are made: what they gain, times this, must be more than what they cost.
 */
export const AGENT_WORTH_SECONDS = 3_600;
/** Decisions about one plan: with 10,000 agents each takes some milliseconds. */
const MAX_DECISIONS = 2_000;
/** Agents that are tried for one move. */
const MAX_TRIED = 8;

/** The state of a plan that is being made. */
export class Planning {
  readonly model: FleetModel;
  readonly maxMoves: number;
  readonly moves: PlannedMove[] = [];
  readonly notMovable = new Set<string>();
  /** Agents that work is moved from, or to: never both, so that no move waits for room that another one leaves. */
  readonly sources = new Set<string>();
  readonly targets = new Set<string>();
  /** Agents that had nothing to do when the plan was begun. */
  readonly unused = new Set<string>();
  readonly #tasksOn = new Map<string, PlacedTask[]>();
  readonly #moved = new Set<string>();
  readonly #line: WaitingLine;
  #decisions = MAX_DECISIONS;

  constructor({ model, maxMoves }: { model: FleetModel; maxMoves: number }) {
    this.model = model;
    this.maxMoves = maxMoves;
    this.#line = new WaitingLine(model);
    for (const { agent, keys } of model.agents()) if (keys.size === 0) this.unused.add(agent.id);
    for (const task of model.fleet.tasks) {
      const there = this.#tasksOn.get(task.agentId);
      if (there === undefined) this.#tasksOn.set(task.agentId, [task]);
      else there.push(task);
    }
  }

  get exhausted(): boolean {
    return this.#decisions <= 0 || this.moves.length >= this.maxMoves;
  }

  /** How many more moves the plan may have. */
  get left(): number {
    return this.maxMoves - this.moves.length;
  }

  /** The tasks that were on an agent when the plan was begun and are not moved yet. */
  tasksOn(agentId: string): PlacedTask[] {
    return (this.#tasksOn.get(agentId) ?? []).filter(({ id }) => !this.#moved.has(id));
  }

  /** The same without those that must stay, cheapest first. */
  movableOn(agentId: string): PlacedTask[] {
    const movable = this.tasksOn(agentId).filter((task) => mayMove(task));
    return movable.sort((a, b) => costSecondsOf(a) - costSecondsOf(b) || (a.id < b.id ? -1 : 1));
  }

  /**
   * Moves a task in the model to the agent that its own strategy prefers of those that `suits`.
   * @param suits asked when it is there already
   */
  move(
    task: PlacedTask,
    but: ReadonlySet<string>,
    suits: (target: ModelAgent) => boolean = () => true,
  ): { to: string; undo: Undo } | undefined {
    const { model } = this;
    const excluded = new Set([
      ...but,
      ...this.sources,
      ...model.fleet.keptFree,
      ...task.exclude,
      task.agentId,
    ]);
    for (let tries = 0; tries < MAX_TRIED && this.#decisions > 0; tries += 1) {
      this.#decisions -= 1;
      const to = model.choose(task.want, excluded);
      const target = to === undefined ? undefined : model.agent(to);
      if (to === undefined || target === undefined) return undefined;
      const undo = this.try(task, to);
      if (undo !== undefined) {
        if (suits(target)) return { to, undo };
        undo();
      }
      excluded.add(to);
    }
    return undefined;
  }

  /** Moves a task in the model; undefined: it does not fit, or something that waits would not fit any more that did. */
  try(task: PlacedTask, to: string): Undo | undefined {
    const undo = this.model.move(task, to);
    if (undo === undefined || this.#line.holds()) return undo;
    undo();
    return undefined;
  }

  /** Keeps the room of what waits; what found none is returned, first those that are to be served first. */
  reserveForWaiting(): WaitingTask[] {
    return this.#line.reserve();
  }

  /** There is room for it now, and it stays. */
  reserve(waiting: WaitingTask, agentId: string): void {
    this.#line.keep(waiting, agentId);
  }

  /** Into the plan, if it is worth it; else it is taken back. */
  settle({ moves, undos }: Bundle): boolean {
    if (moves.length > 0 && moves.length <= this.left && isWorth(moves)) {
      for (const move of moves) {
        this.moves.push(move);
        this.#moved.add(move.task.id);
        this.sources.add(move.task.agentId);
        this.targets.add(move.to);
      }
      return true;
    }
    takeBack({ moves, undos });
    return false;
  }
}

/** Newest first. */
export function takeBack({ undos }: Bundle): void {
  for (const undo of undos.splice(0).reverse()) undo();
}

export function isWorth(moves: readonly PlannedMove[]): boolean {
  const gain = moves.reduce((sum, move) => sum + move.gain, 0);
  const cost = moves.reduce((sum, { costSeconds }) => sum + costSeconds, 0);
  return gain > 0 && gain * AGENT_WORTH_SECONDS > cost;
}

export const percent = (share: number): string => `${Math.round(share * 100)} %`;
