import type { Store } from '../../state/store.ts';
import { mailKey } from './delivery-record.ts';
import { type KnownDelivery, knownDelivery } from './mailboxes.ts';

/** A delivery as the store itself has it, not as this replica's view knows it. */
export async function loadDelivery(
  store: Store,
  namespace: string,
  agentId: string,
  id: string,
): Promise<KnownDelivery | undefined> {
  const entry = await store.get(namespace, mailKey(agentId, id));
  return entry === undefined ? undefined : knownDelivery(namespace, entry.key, entry.value, entry.revision);
}
