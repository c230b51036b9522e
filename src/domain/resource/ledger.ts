import { Agent_Liveness, Agent_Phase } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { QuotaRecord } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { zoneOf } from '../agent/care/troubles.ts';
import type { KnownAgent } from '../agent/directory.ts';
import { livenessWords } from '../agent/liveness.ts';
import { phaseWord } from '../agent/order-rules.ts';
import { agentOf } from '../agent/record.ts';
import { holdsBudgets } from '../coordination/tasks/budgets.ts';
import { deliveryIdOf, type KnownTask, ownerOf, specOf, taskOf } from '../coordination/tasks/task-record.ts';
import type { Item } from '../coordination/tasks/waiting.ts';
import { Accounts } from './accounts/accounts.ts';
import { allocationKey, holdOfAllocation, type KnownAllocation } from './allocations/allocation-record.ts';
import { amountsOf } from './amounts.ts';
import { AgentPool } from './pool/agent-pool.ts';
import type { PoolAgent, Strategy } from './pool/types.ts';
import { groupOf } from './pool/want-class.ts';

export interface LedgerOptions {
  overcommit: Readonly<Record<string, number>>;
  defaultSlots: number;
  defaultStrategy: Strategy;
}

const NOTHING = {};

/**
 * What a namespace's agents have and what of it is taken: what the store has, as the views tell it, and what this replica is
 * about to store.
 */
export class Ledger {
  readonly pool: AgentPool;
  readonly accounts = new Accounts();

  constructor(options: LedgerOptions) {
    this.pool = new AgentPool(options);
  }

  agentChanged(id: string, known: KnownAgent | undefined): void {
    if (known === undefined) this.pool.removeAgent(id);
    else this.pool.setAgent(poolAgent(known));
  }

  taskChanged(before: KnownTask | undefined, after: KnownTask | undefined): void {
    for (const live of before?.record.live ?? []) {
      if (after?.record.live.some(({ number }) => number === live.number) === true) continue;
      this.#free(attemptKey(live.deliveryId));
    }
    if (after !== undefined) {
      for (const live of after.record.live) {
        if (before?.record.live.some(({ number }) => number === live.number) === true) continue;
        this.#hold(after, live.deliveryId, live.agentId, live.resources);
      }
    }
    this.#holdBudgets(before, after);
  }

  allocationChanged(before: KnownAllocation | undefined, after: KnownAllocation | undefined): void {
    const known = after ?? before;
    if (known === undefined) return;
    const key = allocationKey(known.id);
    const hold = after && holdOfAllocation(after.record);
    if (hold === undefined) {
      this.#free(key);
      return;
    }
    const { agentId, group, account } = hold;
    if (agentId === '') this.pool.free(key);
    else this.pool.hold(key, { agentId, resources: account.resources, group, kind: 'allocation' });
    this.accounts.hold(key, account);
  }

  /** @param record undefined: it was removed */
  quotaChanged(owner: string, record: QuotaRecord | undefined, revision: bigint): void {
    if (record === undefined) this.accounts.removeQuota(owner);
    else this.accounts.setQuota(owner, record, revision);
  }

  /** Reserves an attempt that is about to be stored. @returns what undoes it */
  holdAttempt(taskId: string, number: number, item: Item, agentId: string): () => void {
    const key = attemptKey(deliveryIdOf(taskId, number));
    const budgetKey = budgetsKey(taskId);
    const { resources } = item.want;
    this.pool.hold(key, { agentId, resources, group: groupOf(item.want), kind: 'task' });
    this.accounts.hold(key, { owner: item.owner, resources, tasks: 1, budgets: NOTHING });
    const takesBudgets = Object.keys(item.hold.budgets).length > 0;
    if (takesBudgets) {
      const { budgets } = item.hold;
      this.accounts.hold(budgetKey, { owner: item.owner, resources: NOTHING, tasks: 0, budgets });
    }
    return () => {
      this.#free(key);
      if (takesBudgets) this.accounts.free(budgetKey);
    };
  }

  /** The same for an allocation. */
  holdAllocation(item: Item, agentId: string): () => void {
    const { resources } = item.want;
    if (agentId !== '')
      this.pool.hold(item.key, { agentId, resources, group: groupOf(item.want), kind: 'allocation' });
    this.accounts.hold(item.key, item.hold);
    return () => this.#free(item.key);
  }

  #hold(known: KnownTask, deliveryId: string, agentId: string, granted: Record<string, bigint>): void {
    const key = attemptKey(deliveryId);
    const resources = amountsOf(granted);
    const { capability, placement } = specOf(known.record);
    const group = placement?.group || capability;
    this.pool.hold(key, { agentId, resources, group, kind: 'task' });
    this.accounts.hold(key, { owner: ownerOf(known.record), resources, tasks: 1, budgets: NOTHING });
  }

  #holdBudgets(before: KnownTask | undefined, after: KnownTask | undefined): void {
    if (after !== undefined && isRootHolder(after)) {
      const budgets = amountsOf(taskOf(after.record).budgets);
      const hold = { owner: ownerOf(after.record), resources: NOTHING, tasks: 0, budgets } as const;
      this.accounts.hold(budgetsKey(after.id), hold);
    } else if (before !== undefined && isRootHolder(before)) this.accounts.free(budgetsKey(before.id));
  }

  #free(key: string): void {
    this.pool.free(key);
    this.accounts.free(key);
  }
}

const attemptKey = (deliveryId: string): string => deliveryId;
const budgetsKey = (taskId: string): string => `budgets/${taskId}`;

const isRootHolder = ({ record }: KnownTask): boolean =>
  holdsBudgets(record) && specOf(record).parentTaskId === '';

/** An agent as the pool sees it. */
export function poolAgent({ id, record }: KnownAgent): PoolAgent {
  const agent = agentOf(record);
  const { spec, liveness, phase } = agent;
  const labels = spec?.labels ?? {};
  const why = unavailableWhy(liveness, phase);
  return {
    id,
    uid: agent.uid,
    labels,
    zone: zoneOf(record),
    capabilities: (spec?.capabilities ?? []).map(({ name, version }) => ({ name, version })),
    capacity: amountsOf(spec?.capacity ?? {}),
    available: why === '',
    unavailableWhy: why,
  };
}

/** Why an agent may not be given work now; empty: it may. */
export function unavailableWhy(liveness: Agent_Liveness, phase: Agent_Phase): string {
  if (phase !== Agent_Phase.ACTIVE && phase !== Agent_Phase.REGISTERED) return phaseWord(phase);
  return liveness === Agent_Liveness.CONNECTED ? '' : livenessWords(liveness).name;
}
