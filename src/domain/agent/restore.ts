import type { Store } from '../../state/store.ts';
import type { EventWriter } from '../monitoring/events.ts';
import type { KnownAgent } from './directory.ts';
import { contention } from './errors.ts';
import { restoredEvent } from './judgement.ts';
import { agentKey, encodeRecord } from './record.ts';
import type { Session } from './session.ts';

export interface RestoreOptions {
  store: Store;
  events: EventWriter;
  replicaId: string;
}

/**
 * Stores again what a lost store had of an agent whose session is held here, and returns the revision of that.
 * @param known the agent as it was known before the store was lost
 * @param found what the store has of it now
 * @throws DomainError CONTENTION when that is not this session's attachment, or somebody else wrote; StoreUnavailableError
 */
export async function restoreAttachment(
  { store, events, replicaId }: RestoreOptions,
  session: Session,
  known: KnownAgent,
  found: KnownAgent | undefined,
): Promise<bigint> {
  if (known.record.sessionEpoch !== session.epoch) throw contention();
  const outcome = await store.commit({
    namespace: known.namespace,
    checks: [{ key: agentKey(known.id), revision: found?.revision ?? 0n }],
    puts: [{ key: agentKey(known.id), value: encodeRecord(known.record) }],
    appends: [events.append(restoredEvent(known.id, session.epoch, replicaId))],
  });
  if (outcome.kind !== 'committed') throw contention();
  return outcome.revision;
}
