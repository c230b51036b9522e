import { create } from '@bufbuild/protobuf';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import {
  type ApplyRebalanceRequest,
  ApplyRebalanceRequestSchema,
  type ApplyRebalanceResponse,
  ApplyRebalanceResponseSchema,
  type PlanRebalanceRequest,
  type PlanRebalanceResponse,
  PlanRebalanceResponseSchema,
  type RebalancePlan,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { DomainError } from '../../../lib/errors.ts';
import type { Check, Commit, Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import { actorOf, type Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import type { EventWriter, NewEvent } from '../../monitoring/events.ts';
import { namespaceOf } from '../../namespaces.ts';
import { Mutation } from '../../requests.ts';
import { type Checked, checkPlan } from './check-plan.ts';
import type { FleetReader } from './fleet-reader.ts';
import { inSlices } from './in-slices.ts';
import { orderMoves } from './order-moves.ts';
import { decodePlan, planKey, planOf } from './plan-record.ts';
import { goalName, type Plans } from './plans.ts';
import { planNotFound, planStale } from './rebalance-errors.ts';

export interface RebalancingOptions {
  store: Store;
  storeTime: StoreTime;
  directory: AgentDirectory;
  reader: FleetReader;
  plans: Plans;
  events: EventWriter;
  clock: Clock;
  /** Resolves once the views of this replica show a revision, or after a while. */
  seen(namespace: string, revision: bigint): Promise<void>;
}

/** How a plan is applied. */
export interface Application {
  namespace: string;
  planId: string;
  actor: string;
  /** Conditions besides those of the plan. */
  checks?: readonly Check[];
  /** What a repetition is told. */
  remember?(response: ApplyRebalanceResponse): Pick<Commit, 'request'>;
}

type Applied =
  | { kind: 'applied'; response: ApplyRebalanceResponse; revision: bigint }
  | { kind: 'repeated'; revision: bigint; fingerprint: Uint8Array; response: Uint8Array }
  /** One of the application's own checks failed. */
  | { kind: 'refused' };

/** Another change came in between so often; then it is told which. */
const ATTEMPTS = 4;

/** Plans moves when asked to, and has the scheduler make them. */
export class Rebalancing {
  readonly #options: RebalancingOptions;

  constructor(options: RebalancingOptions) {
    this.#options = options;
  }

  /** @throws DomainError LIMIT_REACHED; StoreUnavailableError, StoreFullError */
  async plan(request: PlanRebalanceRequest): Promise<PlanRebalanceResponse> {
    const { store, storeTime, plans, directory } = this.#options;
    const namespace = namespaceOf(request);
    const storeMs = await storeTime.exact();
    // What was stored before this call counts; naming a namespace that is not there costs nothing.
    if (directory.count(namespace) > 0) await this.#caughtUp(namespace);
    const { goals, maxMoves } = request;
    const plan = await plans.make({ namespace, goals, maxMoves, storeMs });
    if (plan.id !== '') await store.commit({ namespace, ...(await plans.keep(namespace, plan, storeMs)) });
    return create(PlanRebalanceResponseSchema, { plan });
  }

  /** What moves would help, without keeping the plan. @throws DomainError LIMIT_REACHED */
  dry(namespace: string): Promise<RebalancePlan> {
    const { plans, storeTime } = this.#options;
    return plans.make({ namespace, goals: [], maxMoves: 0, storeMs: storeTime.ms() });
  }

  /** @throws DomainError PLAN_NOT_FOUND, PLAN_STALE, REQUEST_ID_REUSED; StoreUnavailableError, StoreFullError */
  async apply(request: ApplyRebalanceRequest, caller: Caller): Promise<ApplyRebalanceResponse> {
    const { store, directory } = this.#options;
    const namespace = namespaceOf(request);
    const mutation = new Mutation({
      ...{ store, namespace, principal: caller.principal, method: 'ApplyRebalance' },
      requestId: request.requestId,
      input: { schema: ApplyRebalanceRequestSchema, message: request },
      output: ApplyRebalanceResponseSchema,
    });
    const stamped = (response: ApplyRebalanceResponse, revision: bigint): ApplyRebalanceResponse =>
      Object.assign(response, { revision });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return stamped(earlier.response, earlier.revision);
    try {
      const outcome = await this.carryOut({
        namespace,
        planId: request.planId,
        actor: actorOf(caller, directory),
        remember: (response) => mutation.record(response),
      });
      if (outcome.kind === 'refused') throw planNotFound(request.planId);
      if (outcome.kind === 'applied') return stamped(outcome.response, outcome.revision);
      const first = mutation.repeated(outcome);
      return stamped(first.response, first.revision);
    } catch (error) {
      // The same request beside this one may have carried it out meanwhile.
      const first = error instanceof DomainError ? await mutation.earlier() : undefined;
      if (first === undefined) throw error;
      return stamped(first.response, first.revision);
    }
  }

  /** @throws DomainError PLAN_NOT_FOUND, PLAN_STALE; StoreUnavailableError, StoreFullError */
  async carryOut({ namespace, planId, actor, checks = [], remember }: Application): Promise<Applied> {
    const { store, storeTime, reader, events, clock } = this.#options;
    for (let attempt = 1; ; attempt += 1) {
      const storeMs = await storeTime.exact();
      const entry = await store.get(namespace, planKey(planId));
      const record = entry && decodePlan(entry);
      if (entry === undefined || record === undefined || Number(record.untilMs) <= storeMs) {
        throw planNotFound(planId);
      }
      const plan = planOf(record);
      await this.#caughtUp(namespace);
      const checked = await inSlices(check(reader, namespace, plan, storeMs), clock);
      if (checked.kind === 'stale') throw planStale(planId, checked.changes);
      const response = create(ApplyRebalanceResponseSchema, { moves: checked.moves.length });
      const ordered = orderMoves(checked.moves, actor);
      const outcome = await store.commit({
        namespace,
        checks: [...checks, { key: planKey(planId), revision: entry.revision }, ...ordered.checks],
        puts: ordered.puts,
        // It is carried out once.
        deletes: [planKey(planId)],
        appends: [events.append(appliedEvent(plan, actor))],
        ...remember?.(response),
      });
      if (outcome.kind === 'committed') return { kind: 'applied', response, revision: outcome.revision };
      if (outcome.kind === 'repeated') return outcome;
      if (checks.some(({ key }) => key === outcome.key)) return { kind: 'refused' };
      if (attempt === ATTEMPTS) throw planStale(planId, [`${outcome.key} changes again and again`]);
    }
  }

  /** This replica has seen all that was stored before. */
  async #caughtUp(namespace: string): Promise<void> {
    const { store, seen } = this.#options;
    const { revision } = await store.position(namespace);
    await seen(namespace, revision);
  }
}

function* check(
  reader: FleetReader,
  namespace: string,
  plan: RebalancePlan,
  storeMs: number,
): Generator<void, Checked> {
  const known = new Map(plan.moves.map(({ taskId }) => [taskId, reader.task(namespace, taskId)]));
  const fleet = yield* reader.read(namespace, storeMs);
  return yield* checkPlan(plan, fleet, known);
}

function appliedEvent(plan: RebalancePlan, actor: string): NewEvent {
  return {
    type: 'resource.rebalance_applied',
    severity: Event_Severity.INFO,
    message: `a plan is carried out: ${plan.summary}`,
    actor,
    attributes: planAttributes(plan),
  };
}

/** The figures of a plan, for events. */
export function planAttributes({ id, moves, notMovable }: RebalancePlan): Record<string, string> {
  const gain = moves.reduce((sum, move) => sum + move.gain, 0);
  const cost = moves.reduce((sum, { costSeconds }) => sum + costSeconds, 0);
  const goals = new Set(moves.map(({ goal }) => goalName(goal)));
  return {
    plan_id: id,
    moves: `${moves.length}`,
    goals: [...goals].sort().join(','),
    gain: gain.toFixed(3),
    cost_seconds: cost.toFixed(1),
    not_movable: `${notMovable}`,
  };
}
