import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Store } from '../../../state/store.ts';
import type { Chore, ChoreContext } from '../../agent/care/chore.ts';
import type { Loss, LossEffects, LossHook } from '../../agent/care/loss-hook.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import type { EventWriter, NewEvent } from '../../monitoring/events.ts';
import { endOfBinding } from '../bindings.ts';
import { encodeLock, lockBinding, lockKey, lockOf, msOf } from './lock-record.ts';
import { takenAway } from './lock-rules.ts';
import type { KnownLock, LockView } from './lock-view.ts';

export interface LockUpkeepOptions {
  store: Store;
  directory: AgentDirectory;
  view: LockView;
  events: EventWriter;
}

/** A lock that nobody has held for so long is forgotten. */
const FORGET_MS = 7 * 24 * 3600 * 1000;
/** Locks that one commit or one round changes. */
const MAX_CHANGED = 256;

/** Takes locks from holders that are gone, and forgets those that nobody has held for long. */
export class LockUpkeep implements Chore, LossHook {
  readonly name = 'upkeep of locks';
  readonly #options: LockUpkeepOptions;

  constructor(options: LockUpkeepOptions) {
    this.#options = options;
  }

  hasWork(namespace: string): boolean {
    return this.#options.view.count(namespace) > 0;
  }

  async run({ namespace, fence, storeMs }: ChoreContext): Promise<void> {
    const { store, directory, view, events } = this.#options;
    let changed = 0;
    for (const known of [...view.all(namespace)]) {
      if (changed === MAX_CHANGED) return;
      const { name, record, revision } = known;
      const checks = [fence, { key: lockKey(name), revision }];
      const binding = lockOf(record).held ? lockBinding(record) : undefined;
      const why = binding && endOfBinding(binding, directory.get(namespace, binding.agentId));
      if (why !== undefined) {
        const value = encodeLock(takenAway(record, storeMs));
        const appends = [events.append(lostEvent(known, why))];
        await store.commit({ namespace, checks, puts: [{ key: lockKey(name), value }], appends });
        changed += 1;
      } else if (isForgotten(known, storeMs)) {
        await store.commit({ namespace, checks, deletes: [lockKey(name)] });
        changed += 1;
      }
    }
  }

  async effects({ namespace, known, storeMs }: Loss): Promise<LossEffects> {
    const { view, events } = this.#options;
    const bound = view.boundTo(namespace, known.id);
    const some = bound.slice(0, MAX_CHANGED);
    if (some.length === 0) return {};
    return {
      checks: some.map(({ name, revision }) => ({ key: lockKey(name), revision })),
      puts: some.map(({ name, record }) => ({
        key: lockKey(name),
        value: encodeLock(takenAway(record, storeMs)),
      })),
      appends: some.map((lock) => events.append(lostEvent(lock, 'the agent is lost'))),
      summary: `${some.length} locks taken from it`,
      more: some.length < bound.length,
    };
  }
}

function isForgotten({ record }: KnownLock, storeMs: number): boolean {
  const { held, expireTime, grantTime } = lockOf(record);
  if (held && expireTime === undefined) return false;
  const lastMs = Math.max(msOf(expireTime) ?? 0, msOf(grantTime) ?? 0) + record.leaseMs + record.lockDelayMs;
  return lastMs + FORGET_MS <= storeMs;
}

function lostEvent({ name, record }: KnownLock, why: string): NewEvent {
  const { holder, boundAgentId, fencingToken } = lockOf(record);
  return {
    type: 'lock.lost',
    severity: Event_Severity.WARNING,
    message: `${holder} lost lock ${name}: ${why}`,
    actor: 'rule:locks',
    agentId: boundAgentId,
    attributes: { lock: name, fencing_token: `${fencingToken}` },
  };
}
