import { create } from '@bufbuild/protobuf';
import {
  MoveSchema,
  PlanRebalanceRequest_GoalSchema,
  type RebalancePlan,
  RebalancePlanSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Ids } from '../../../lib/ids.ts';
import { KeyedQueue } from '../../../lib/keyed-queue.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Commit, Store } from '../../../state/store.ts';
import { FleetModel } from './fleet-model.ts';
import type { FleetReader } from './fleet-reader.ts';
import { inSlices } from './in-slices.ts';
import { decodePlan, encodePlan, PLAN_KEPT_MS, PLAN_PREFIX, planKey } from './plan-record.ts';
import { type PlanOutcome, planMoves } from './planner.ts';
import type { Goal } from './planning.ts';
import { tooManyPlans } from './rebalance-errors.ts';

export interface PlansOptions {
  store: Store;
  reader: FleetReader;
  clock: Clock;
  ids: Ids;
  /** Up to where this replica has seen a namespace. */
  revision(namespace: string): bigint;
}

export interface PlanOrder {
  namespace: string;
  /** Empty: all. */
  goals: readonly Goal[];
  /** 0: 20. */
  maxMoves: number;
  storeMs: number;
}

const DEFAULT_MOVES = 20;
/** Digits of a plan's id, which people type. */
const ID_DIGITS = 10;
/** Plans of a namespace that are kept. */
const MAX_KEPT = 64;
/** Plans that are asked for at a time, on this replica: they are made one after the other. */
const MAX_ASKED = 16;

/** Makes plans, keeps them for ten minutes, and removes them. */
export class Plans {
  readonly #options: PlansOptions;
  readonly #queue = new KeyedQueue();
  #asked = 0;

  constructor(options: PlansOptions) {
    this.#options = options;
  }

  /** A plan with an id that is not stored yet; without one where there is nothing to move. @throws DomainError LIMIT_REACHED */
  async make(order: PlanOrder): Promise<RebalancePlan> {
    if (this.#asked >= MAX_ASKED) throw tooManyPlans(MAX_ASKED);
    this.#asked += 1;
    try {
      return await this.#queue.run('plan', () => this.#make(order));
    } finally {
      this.#asked -= 1;
    }
  }

  /** What stores a plan; the oldest go where there are too many. @throws StoreUnavailableError */
  async keep(
    namespace: string,
    plan: RebalancePlan,
    storeMs: number,
  ): Promise<Required<Pick<Commit, 'puts' | 'deletes'>>> {
    const puts = [{ key: planKey(plan.id), value: encodePlan(plan, storeMs + PLAN_KEPT_MS) }];
    const kept = await this.#kept(namespace);
    kept.sort((a, b) => a.untilMs - b.untilMs);
    const deletes = kept
      .filter(({ untilMs }, at) => untilMs <= storeMs || at <= kept.length - MAX_KEPT)
      .map(({ key }) => key);
    return { puts, deletes };
  }

  /** Keys of plans whose time has passed. @throws StoreUnavailableError */
  async expired(namespace: string, storeMs: number): Promise<string[]> {
    const kept = await this.#kept(namespace);
    return kept.filter(({ untilMs }) => untilMs <= storeMs).map(({ key }) => key);
  }

  async #kept(namespace: string): Promise<{ key: string; untilMs: number }[]> {
    const { entries } = await this.#options.store.scan(namespace, {
      prefix: PLAN_PREFIX,
      limit: 2 * MAX_KEPT,
    });
    return entries.map((entry) => ({ key: entry.key, untilMs: Number(decodePlan(entry).untilMs) }));
  }

  async #make({ namespace, goals, maxMoves, storeMs }: PlanOrder): Promise<RebalancePlan> {
    const { reader, clock, ids, revision } = this.#options;
    const plan = create(RebalancePlanSchema, {
      time: timestampFromMs(storeMs),
      revision: revision(namespace),
      summary: 'there are no agents',
    });
    const limit = maxMoves === 0 ? DEFAULT_MOVES : maxMoves;
    const outcome = await inSlices(look(reader, namespace, storeMs, new Set(goals), limit), clock);
    if (outcome === undefined) return plan;
    const { moves, notMovable, summary } = outcome;
    plan.notMovable = notMovable;
    plan.summary = summary;
    plan.moves = moves.map(({ task, to, goal, gain, costSeconds, detail }) =>
      create(MoveSchema, {
        ...{ taskId: task.id, attempt: task.attempt, fromAgentId: task.agentId, toAgentId: to },
        ...{ goal, gain, costSeconds, detail },
      }),
    );
    if (moves.length > 0) plan.id = `plan-${ids.uuid().replaceAll('-', '').slice(0, ID_DIGITS)}`;
    return plan;
  }
}

function* look(
  reader: FleetReader,
  namespace: string,
  storeMs: number,
  goals: ReadonlySet<Goal>,
  maxMoves: number,
): Generator<void, PlanOutcome | undefined> {
  const fleet = yield* reader.read(namespace, storeMs);
  if (fleet === undefined) return undefined;
  const model = yield* FleetModel.of(fleet);
  return yield* planMoves({ model, goals, maxMoves });
}

/** "relieve_hot" */
export const goalName = (goal: Goal): string =>
  (PlanRebalanceRequest_GoalSchema.value[goal]?.localName ?? 'unknown').toLowerCase();
