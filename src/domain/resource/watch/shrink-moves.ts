import type { Clock } from '../../../lib/clock.ts';
import type { Store } from '../../../state/store.ts';
import { FREEZE_KEY } from '../../agent/care/care-records.ts';
import type { ChoreContext } from '../../agent/care/chore.ts';
import { type Amounts, add, amountOf, amountsOf } from '../amounts.ts';
import { costSecondsOf, mayMove, type PlacedTask } from '../rebalance/fleet.ts';
import { FleetModel } from '../rebalance/fleet-model.ts';
import { type FleetReader, isLeaving, placedTask } from '../rebalance/fleet-reader.ts';
import { inSlices } from '../rebalance/in-slices.ts';
import { type OrderedMove, orderMoves } from '../rebalance/order-moves.ts';

export interface ShrinkMovesOptions {
  store: Store;
  reader: FleetReader;
  clock: Clock;
  /** Whether automatic action is held back in the namespace: frozen, braked, or agents are being collected. */
  heldBack(namespace: string): boolean;
}

/** As which tasks are moved. */
const ACTOR = 'rule:on_shrink';
/** An agent on which there is still too much is looked at again after so long. */
const AGAIN_MS = 5_000;
/** Moves of one agent that are ordered at once. */
const MAX_MOVES = 64;
/** Agents that are tried for one task. */
const MAX_TRIED = 8;
/** A resource and how much of it is too much. */
type Excess = Map<string, number>;

/** Moves tasks off agents that have less than is reserved on them, those of the lowest priority first, until it fits. */
export class ShrinkMoves {
  readonly #options: ShrinkMovesOptions;
  /** When an agent is looked at again, by namespace and agent. */
  readonly #againMs = new Map<string, Map<string, number>>();

  constructor(options: ShrinkMovesOptions) {
    this.#options = options;
  }

  async relieve({ namespace, fence, storeMs }: ChoreContext, over: ReadonlySet<string>): Promise<void> {
    const { store, reader, clock, heldBack } = this.#options;
    const againMs = this.#againMs.get(namespace) ?? new Map<string, number>();
    this.#againMs.set(namespace, againMs);
    for (const agentId of [...againMs.keys()]) if (!over.has(agentId)) againMs.delete(agentId);
    const due = [...over].filter((agentId) => (againMs.get(agentId) ?? 0) <= storeMs);
    if (due.length === 0 || heldBack(namespace)) return;
    for (const agentId of due) againMs.set(agentId, storeMs + AGAIN_MS);
    const some = due.filter((agentId) => this.#excess(namespace, agentId).size > 0);
    if (some.length === 0) return;
    const model = await inSlices(read(reader, namespace, storeMs), clock);
    if (model === undefined) return;
    const but = new Set(over);
    for (const agentId of some) {
      const moves = this.#moves(namespace, agentId, model, but, storeMs);
      if (moves.length === 0) continue;
      const ordered = orderMoves(moves, ACTOR);
      // What came in between is seen next time.
      await store.commit({
        namespace,
        checks: [fence, { key: FREEZE_KEY, revision: 0n }, ...ordered.checks],
        puts: ordered.puts,
      });
    }
  }

  /** What is too much there once those have gone that are on their way. */
  #excess(namespace: string, agentId: string): Excess {
    const { reader } = this.#options;
    let leaving: Amounts = {};
    for (const known of reader.on(namespace, agentId)) {
      if (!isLeaving(known, agentId)) continue;
      for (const live of known.record.live) {
        if (live.agentId === agentId) leaving = add(leaving, amountsOf(live.resources));
      }
    }
    const excess: Excess = new Map();
    for (const { resource, excess: over } of reader.pool(namespace)?.usageOf(agentId)?.resources ?? []) {
      const left = over - amountOf(leaving, resource);
      if (left > 0) excess.set(resource, left);
    }
    return excess;
  }

  #moves(
    namespace: string,
    agentId: string,
    model: FleetModel,
    but: ReadonlySet<string>,
    storeMs: number,
  ): OrderedMove[] {
    const excess = this.#excess(namespace, agentId);
    const tasks = model.fleet.tasks.filter((task) => task.agentId === agentId && mayMove(task));
    const moves: OrderedMove[] = [];
    for (const task of tasks.sort(goesBefore)) {
      if (excess.size === 0 || moves.length === MAX_MOVES) break;
      const helps = [...excess.keys()].some((resource) => amountOf(task.want.resources, resource) > 0);
      const known = helps ? this.#options.reader.task(namespace, task.id) : undefined;
      // It may have changed since the fleet was read.
      if (known === undefined || placedTask(known, storeMs)?.key !== task.key) continue;
      const to = moved(model, task, but);
      if (to === undefined) continue;
      moves.push({ known, to });
      for (const [resource, left] of excess) {
        const rest = left - amountOf(task.want.resources, resource);
        if (rest > 0) excess.set(resource, rest);
        else excess.delete(resource);
      }
    }
    return moves;
  }
}

function* read(
  reader: FleetReader,
  namespace: string,
  storeMs: number,
): Generator<void, FleetModel | undefined> {
  const fleet = yield* reader.read(namespace, storeMs);
  return fleet && (yield* FleetModel.of(fleet));
}

/** Of the lowest priority first; of those, what nobody has begun, and what has run for the shortest time. */
const goesBefore = (a: PlacedTask, b: PlacedTask): number =>
  a.priority - b.priority || costSecondsOf(a) - costSecondsOf(b) || (a.id < b.id ? -1 : 1);

/** Moves it in the model. @returns where to */
function moved(model: FleetModel, task: PlacedTask, but: ReadonlySet<string>): string | undefined {
  const excluded = new Set([...but, ...model.fleet.keptFree, ...task.exclude]);
  for (let tries = 0; tries < MAX_TRIED; tries += 1) {
    const to = model.choose(task.want, excluded);
    if (to === undefined) return undefined;
    if (model.move(task, to) !== undefined) return to;
    excluded.add(to);
  }
  return undefined;
}
