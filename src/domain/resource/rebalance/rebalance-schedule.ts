import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { RebalancePlan } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { Background } from '../../../lib/background.ts';
import { DomainError } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/logger.ts';
import { type Store, StoreUnavailableError } from '../../../state/store.ts';
import { FREEZE_KEY } from '../../agent/care/care-records.ts';
import type { Chore, ChoreContext } from '../../agent/care/chore.ts';
import type { EventWriter } from '../../monitoring/events.ts';
import type { Plans } from './plans.ts';
import { planAttributes, type Rebalancing } from './rebalancing.ts';

export interface RebalanceScheduleOptions {
  store: Store;
  plans: Plans;
  rebalancing: Rebalancing;
  events: EventWriter;
  background: Background;
  log: Logger;
  /** How often; 0: never. */
  intervalMs: number;
  /** Whether plans are carried out, or told of only. */
  apply: boolean;
  /** Whether automatic action is held back in the namespace: frozen, braked, or agents are being collected. */
  heldBack(namespace: string): boolean;
}

/** As which plans are carried out. */
const ACTOR = 'rule:rebalance';

/** Looks for moves from time to time, tells of them, and makes them where that is configured. */
export class RebalanceSchedule implements Chore {
  readonly name = 'rebalancing';
  readonly #options: RebalanceScheduleOptions;
  readonly #nextMs = new Map<string, number>();
  readonly #busy = new Set<string>();

  constructor(options: RebalanceScheduleOptions) {
    this.#options = options;
  }

  /** Not awaited: a large plan must not hold up the care of agents. */
  async run(context: ChoreContext): Promise<void> {
    const { intervalMs, background } = this.#options;
    const { namespace, storeMs } = context;
    if (intervalMs === 0 || this.#busy.has(namespace)) return;
    const nextMs = this.#nextMs.get(namespace);
    if (nextMs === undefined || storeMs >= nextMs) this.#nextMs.set(namespace, storeMs + intervalMs);
    if (nextMs === undefined || storeMs < nextMs) return;
    this.#busy.add(namespace);
    background.run('rebalancing', async () => {
      try {
        await this.#propose(context);
      } catch (error) {
        // It comes again.
        if (!(error instanceof StoreUnavailableError)) throw error;
      } finally {
        this.#busy.delete(namespace);
      }
    });
  }

  async #propose({ namespace, fence, storeMs }: ChoreContext): Promise<void> {
    const { store, plans, rebalancing, events, log, apply, heldBack } = this.#options;
    const plan = await plans.make({ namespace, goals: [], maxMoves: 0, storeMs });
    if (plan.id === '') return;
    const kept = await plans.keep(namespace, plan, storeMs);
    const outcome = await store.commit({
      namespace,
      ...kept,
      checks: [fence],
      appends: [events.append(proposed(plan))],
    });
    if (outcome.kind !== 'committed' || !apply || heldBack(namespace)) return;
    try {
      const checks = [fence, { key: FREEZE_KEY, revision: 0n }];
      await rebalancing.carryOut({ namespace, planId: plan.id, actor: ACTOR, checks });
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      log.info({ namespace, plan: plan.id, err: error }, 'a plan of moves was out of date at once');
    }
  }
}

function proposed(plan: RebalancePlan) {
  return {
    type: 'resource.rebalance_proposed',
    severity: Event_Severity.INFO,
    message: `moves of tasks would help: ${plan.summary}`,
    actor: ACTOR,
    attributes: planAttributes(plan),
  };
}
