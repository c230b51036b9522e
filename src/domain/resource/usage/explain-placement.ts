import { create } from '@bufbuild/protobuf';
import {
  PendingReason,
  type PlacementExplanation,
  type QuotaHit,
  QuotaHitSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  type ExplainPlacementRequest,
  type ExplainPlacementResponse,
  ExplainPlacementResponseSchema,
  type Quota,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { Views } from '../../../state/views.ts';
import { itemOfTask, wantOf } from '../../coordination/tasks/items.ts';
import { loadTask } from '../../coordination/tasks/load-task.ts';
import { taskNotFound } from '../../coordination/tasks/task-errors.ts';
import { hasEnded, specOf, taskKey } from '../../coordination/tasks/task-record.ts';
import type { TaskView } from '../../coordination/tasks/task-view.ts';
import { namespaceOf } from '../../namespaces.ts';
import type { AccountHit, AccountHold, Accounts } from '../accounts/accounts.ts';
import { amountsOf, withSlots } from '../amounts.ts';
import type { PoolWhatIf, Want } from '../pool/types.ts';
import type { LedgerOf } from './ports.ts';
import { type Evicted, strandedBy } from './stranded.ts';

export interface ExplainPlacementOptions {
  store: Store;
  storeTime: StoreTime;
  views: Pick<Views, 'position'>;
  tasks: TaskView;
  ledger: LedgerOf;
  /** Agents of a namespace that are kept free, each for what waits under a key. */
  keptFree(namespace: string): ReadonlyMap<string, string>;
  agingMs: number;
}

/** What is asked about. */
interface Question {
  want: Want;
  hold: AccountHold;
  key: string | undefined;
  declined: ReadonlyMap<string, string>;
}

/** Tasks of drained agents that are looked at, and of which is told. */
const MAX_EVICTED = 2000;
const MAX_STRANDED = 100;

/** No agent could have it, however much were free: that comes before any quota. */
const NEVER: ReadonlySet<PendingReason> = new Set([
  PendingReason.NO_CAPABILITY,
  PendingReason.CONSTRAINTS,
  PendingReason.TOO_LARGE,
]);

/** Tells where something would be placed, or why nowhere, also supposing that things were otherwise. */
export class ExplainPlacement {
  readonly #options: ExplainPlacementOptions;

  constructor(options: ExplainPlacementOptions) {
    this.#options = options;
  }

  /** @throws DomainError TASK_NOT_FOUND; StoreUnavailableError */
  async explain(request: ExplainPlacementRequest): Promise<ExplainPlacementResponse> {
    const { ledger, storeTime, views, keptFree } = this.#options;
    const namespace = namespaceOf(request);
    const nowMs = storeTime.ms();
    const { want, hold, key, declined } = await this.#question(namespace, request, nowMs);
    const { pool, accounts } = ledger(namespace);
    const whatIf = poolWhatIf(request);
    const wanted = pool.classOf(want);
    let explanation: PlacementExplanation;
    try {
      explanation = pool.explain(wanted, {
        exclude: declined,
        keptFree: keptFree(namespace),
        forKey: key,
        whatIf,
      });
    } finally {
      pool.release(wanted);
    }
    const supposed = new Map((request.whatIf?.quotas ?? []).map((quota) => [quota.owner, quota]));
    addHits(explanation, unknownBudgets(accounts, hold, supposed), accounts.hits(hold, nowMs, supposed));
    const evicted = this.#evicted(namespace, request);
    return create(ExplainPlacementResponseSchema, {
      explanation,
      strandedTaskIds:
        whatIf === undefined || evicted.length === 0
          ? []
          : strandedBy(pool, evicted, whatIf).slice(0, MAX_STRANDED),
      revision: views.position(namespace).revision,
    });
  }

  async #question(namespace: string, request: ExplainPlacementRequest, nowMs: number): Promise<Question> {
    const { taskId, capability, placement, owner } = request;
    if (taskId === '') {
      const resources = withSlots(amountsOf(request.resources), 1);
      return {
        want: { capability, placement, resources },
        hold: { owner, resources, tasks: 1, budgets: amountsOf(request.budgets) },
        key: undefined,
        declined: new Map(),
      };
    }
    const { store, agingMs } = this.#options;
    const known = await loadTask(store, namespace, taskId);
    if (known === undefined) throw taskNotFound(namespace, taskId);
    const { want, hold, refusals } = itemOfTask(known, agingMs);
    const declined = new Map<string, string>();
    for (const [agentId, untilMs] of refusals) if (untilMs > nowMs) declined.set(agentId, 'it declined');
    return { want, hold, key: taskKey(taskId), declined };
  }

  #evicted(namespace: string, { whatIf }: ExplainPlacementRequest): Evicted[] {
    const { tasks } = this.#options;
    const evicted: Evicted[] = [];
    for (const agentId of whatIf?.drainedAgentIds ?? []) {
      for (const id of tasks.on(namespace, agentId)) {
        if (evicted.length === MAX_EVICTED) return evicted;
        const known = tasks.get(namespace, id);
        const live = known?.record.live.find((each) => each.agentId === agentId);
        if (known === undefined || live === undefined || hasEnded(known.record)) continue;
        // One that has another attempt elsewhere has its place.
        if (known.record.live.length > 1) continue;
        const { priority } = specOf(known.record);
        evicted.push({ id, key: live.deliveryId, want: wantOf(known), priority });
      }
    }
    return evicted;
  }
}

function poolWhatIf({ whatIf }: ExplainPlacementRequest): PoolWhatIf | undefined {
  if (whatIf === undefined) return undefined;
  return {
    drained: new Set(whatIf.drainedAgentIds),
    capacities: new Map(whatIf.capacities.map(({ agentId, capacity }) => [agentId, amountsOf(capacity)])),
  };
}

/** Budgets that nobody declares, as hits of a limit of nothing. */
function unknownBudgets(
  accounts: Accounts,
  { owner, budgets }: AccountHold,
  supposed: ReadonlyMap<string, Quota>,
): QuotaHit[] {
  const parties = owner === '' ? [''] : [owner, ''];
  const isKnown = (name: string): boolean =>
    parties.some((party) => {
      const quota = supposed.get(party);
      if (quota !== undefined) return quota.budgets.some((budget) => budget.name === name);
      return accounts.record(party)?.quota?.budgets.some((budget) => budget.name === name) === true;
    });
  return Object.entries(budgets).flatMap(([resource, needed]) =>
    isKnown(resource) ? [] : [create(QuotaHitSchema, { owner, resource, needed: BigInt(needed) })],
  );
}

function addHits(
  explanation: PlacementExplanation,
  unknown: readonly QuotaHit[],
  hits: readonly AccountHit[],
): void {
  explanation.quotas = [...unknown, ...hits.map(({ kind: _, ...hit }) => create(QuotaHitSchema, hit))];
  const [first] = explanation.quotas;
  if (first === undefined) return;
  explanation.placeable = false;
  explanation.agentId = '';
  if (NEVER.has(explanation.reason)) return;
  const [hit] = hits;
  const isQuota = unknown.length === 0 && hit?.kind === 'quota';
  explanation.reason = isQuota ? PendingReason.QUOTA : PendingReason.BUDGET;
  const whose = first.owner === '' ? "the namespace's" : `${first.owner}'s`;
  explanation.detail =
    unknown.length > 0
      ? `no quota declares a budget ${first.resource}`
      : `${whose} ${isQuota ? 'quota' : 'budget'} of ${first.resource}: ${first.used} of ${first.limit} are taken, it needs ${first.needed}`;
}
