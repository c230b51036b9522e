import { Agent_Liveness } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type { AllocationRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { Store } from '../../../state/store.ts';
import type { Chore, ChoreContext } from '../../agent/care/chore.ts';
import type { Loss, LossEffects, LossHook } from '../../agent/care/loss-hook.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { agentOf } from '../../agent/record.ts';
import type { EventWriter, NewEvent } from '../../monitoring/events.ts';
import type { Accounts } from '../accounts/accounts.ts';
import { type Spent, settlement } from '../quotas/spending.ts';
import {
  allocationKey,
  allocationOf,
  encodeAllocation,
  type KnownAllocation,
  ownerOf,
  specOf,
} from './allocation-record.ts';
import { agentLost, expired, refused, settled } from './allocation-rules.ts';
import type { AllocationView } from './allocation-view.ts';

export interface AllocationUpkeepOptions {
  store: Store;
  directory: AgentDirectory;
  view: AllocationView;
  events: EventWriter;
  accounts(namespace: string): Accounts;
}

/** Ended ones are kept for so long. */
const KEPT_MS = 3600 * 1000;
/** Ended ones that a namespace keeps; the oldest go first. */
const MAX_ENDED = 10_000;
/** One that waits for so long beyond its time has nobody who would answer it. */
const LATE_MS = 10_000;
/** Whoever was away while this replica was learns that it is back, and renews what it has. */
const GRACE_MS = 10_000;
/** Allocations that one commit changes, and one round. */
const CHUNK = 128;
/** One commit a round settles: the next needs the quotas as they are after it. */
const MAX_SETTLED = 1024;
const MAX_CHANGED = 4096;

/**
 * Ends allocations whose lease has passed or whose agent is gone, has what they spent taken over into the quotas, and removes
 * those that ended long ago.
 */
export class AllocationUpkeep implements Chore, LossHook {
  readonly name = 'upkeep of allocations';
  readonly #options: AllocationUpkeepOptions;
  /** When this replica first did this for a namespace, by the store's clock. */
  readonly #sinceMs = new Map<string, number>();
  /** When it did it last. */
  readonly #lastMs = new Map<string, number>();

  constructor(options: AllocationUpkeepOptions) {
    this.#options = options;
  }

  hasWork(namespace: string): boolean {
    return this.#options.view.count(namespace) > 0;
  }

  async run(context: ChoreContext): Promise<void> {
    if (!this.hasWork(context.namespace)) return;
    await this.#end(context);
    await this.#settle(context);
    await this.#remove(context);
  }

  async effects({ namespace, known, storeMs }: Loss): Promise<LossEffects> {
    const { view, events } = this.#options;
    const there = [...view.on(namespace, known.id)].flatMap((id) => view.get(namespace, id) ?? []);
    const some = there.slice(0, CHUNK);
    if (some.length === 0) return {};
    return {
      checks: some.map(({ id, revision }) => ({ key: allocationKey(id), revision })),
      puts: some.map(({ id, record }) => ({
        key: allocationKey(id),
        value: encodeAllocation(agentLost(record, LOST, storeMs)),
      })),
      appends: some.map((each) => events.append(lostEvent(each, LOST))),
      summary: `${some.length} allocations taken from it`,
      more: some.length < there.length,
    };
  }

  async #end(context: ChoreContext): Promise<void> {
    const { namespace, storeMs } = context;
    // Nobody could renew while no replica was there: after such a time there is some grace.
    const lastMs = this.#lastMs.get(namespace);
    if (lastMs === undefined || storeMs - lastMs > GRACE_MS) this.#sinceMs.set(namespace, storeMs);
    const ends: Ending[] = [];
    for (const known of this.#options.view.active(namespace)) {
      const why = this.#goneAgent(known);
      if (why !== undefined) {
        ends.push({ known, next: agentLost(known.record, why, storeMs), event: lostEvent(known, why) });
      } else if (this.#isOver(known, storeMs)) {
        ends.push({ known, next: expired(known.record, storeMs), event: expiredEvent(known) });
      }
      if (ends.length === MAX_CHANGED) break;
    }
    for (const known of this.#options.view.waiting(namespace)) {
      if (Number(known.record.waitUntilMs) + LATE_MS > storeMs) continue;
      const why = { reason: PendingReason.NEW, detail: 'nobody reserved while it waited' };
      ends.push({ known, next: refused(known.record, why, storeMs), event: undefined });
    }
    this.#lastMs.set(namespace, storeMs);
    for (let from = 0; from < ends.length; from += CHUNK) {
      await this.#commitEach(context, ends.slice(from, from + CHUNK));
    }
  }

  /** All of them at once, or, where one was changed meanwhile, each by itself. */
  async #commitEach(context: ChoreContext, ends: readonly Ending[]): Promise<void> {
    if (await this.#commit(context, ends)) return;
    if (ends.length > 1) for (const end of ends) await this.#commit(context, [end]);
  }

  async #commit({ namespace, fence }: ChoreContext, ends: readonly Ending[]): Promise<boolean> {
    const { store, events } = this.#options;
    const outcome = await store.commit({
      namespace,
      checks: [
        fence,
        ...ends.map(({ known }) => ({ key: allocationKey(known.id), revision: known.revision })),
      ],
      puts: ends.map(({ known, next }) => ({ key: allocationKey(known.id), value: encodeAllocation(next) })),
      appends: ends.flatMap(({ event }) => (event === undefined ? [] : [events.append(event)])),
    });
    return outcome.kind === 'committed';
  }

  #isOver({ namespace, expireMs }: KnownAllocation, storeMs: number): boolean {
    const sinceMs = this.#sinceMs.get(namespace) ?? storeMs;
    if (expireMs === undefined || expireMs > storeMs) return false;
    return expireMs > sinceMs || sinceMs + GRACE_MS <= storeMs;
  }

  /** Why its agent does not have it any more. A loss has its consequences when it is dealt with, behind the brake. */
  #goneAgent({ namespace, record }: KnownAllocation): string | undefined {
    const { directory } = this.#options;
    const { agentId } = allocationOf(record);
    if (agentId === '') return undefined;
    const known = directory.get(namespace, agentId);
    if (known === undefined) return 'its agent was deregistered';
    const agent = agentOf(known.record);
    if (agent.uid !== record.agentUid) return 'its agent was deregistered, and another one has its name';
    return agent.liveness === Agent_Liveness.LEFT ? 'its agent has left' : undefined;
  }

  async #settle(context: ChoreContext): Promise<void> {
    const { namespace, fence, storeMs } = context;
    const { store, view, events } = this.#options;
    const some = view.unsettled(namespace).slice(0, MAX_SETTLED);
    if (some.length === 0) return;
    const made = settlement(this.#options.accounts(namespace), spentByOwner(some), storeMs);
    // Refused where a quota or one of them has changed meanwhile: the next round sees that.
    await store.commit({
      namespace,
      checks: [
        fence,
        ...made.checks,
        ...some.map(({ id, revision }) => ({ key: allocationKey(id), revision })),
      ],
      puts: [
        ...made.puts,
        ...some.map(({ id, record }) => ({
          key: allocationKey(id),
          value: encodeAllocation(settled(record)),
        })),
      ],
      appends: made.events.map((event) => events.append(event)),
    });
  }

  async #remove({ namespace, fence, storeMs }: ChoreContext): Promise<void> {
    const { store, view } = this.#options;
    const ended = view.ended(namespace);
    const tooMany = ended.length - MAX_ENDED;
    const old = ended.filter(({ record }, index) => {
      if (!record.settled) return false;
      const { endTime } = allocationOf(record);
      const endMs = endTime === undefined ? 0 : msFromTimestamp(endTime);
      return index < tooMany || endMs + KEPT_MS <= storeMs;
    });
    for (let from = 0; from < Math.min(old.length, MAX_CHANGED); from += CHUNK) {
      const some = old.slice(from, from + CHUNK);
      const outcome = await store.commit({
        namespace,
        checks: [fence, ...some.map(({ id, revision }) => ({ key: allocationKey(id), revision }))],
        deletes: some.map(({ id }) => allocationKey(id)),
      });
      if (outcome.kind !== 'committed') return;
    }
  }
}

interface Ending {
  known: KnownAllocation;
  next: AllocationRecord;
  event: NewEvent | undefined;
}

const LOST = 'its agent is lost';

function spentByOwner(allocations: readonly KnownAllocation[]): Map<string, Spent> {
  const sums = new Map<string, Record<string, bigint>>();
  for (const { record } of allocations) {
    const owner = ownerOf(record);
    const sum = sums.get(owner) ?? (Object.create(null) as Record<string, bigint>);
    sums.set(owner, sum);
    for (const [name, amount] of Object.entries(allocationOf(record).spent)) {
      sum[name] = (sum[name] ?? 0n) + amount;
    }
  }
  return sums;
}

function expiredEvent({ id, record }: KnownAllocation): NewEvent {
  const { agentId } = allocationOf(record);
  return {
    type: 'allocation.expired',
    severity: Event_Severity.WARNING,
    message: `allocation ${id}${holderOf(record)}${whereOf(record)} was not renewed in time`,
    actor: 'rule:allocations',
    agentId,
    attributes: { allocation_id: id, owner: ownerOf(record) },
  };
}

function lostEvent({ id, record }: KnownAllocation, why: string): NewEvent {
  const { agentId } = allocationOf(record);
  return {
    type: 'allocation.lost',
    severity: Event_Severity.WARNING,
    message: `allocation ${id}${holderOf(record)}${whereOf(record)} ended: ${why}`,
    actor: 'rule:allocations',
    agentId,
    attributes: { allocation_id: id, owner: ownerOf(record) },
  };
}

function holderOf(record: AllocationRecord): string {
  const { holder } = specOf(record);
  return holder === '' ? '' : ` of ${holder}`;
}

function whereOf(record: AllocationRecord): string {
  const { agentId } = allocationOf(record);
  return agentId === '' ? '' : ` on ${agentId}`;
}
