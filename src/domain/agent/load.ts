import type { Store } from '../../state/store.ts';
import type { KnownAgent } from './directory.ts';
import { agentKey, decodeRecord } from './record.ts';

/** An agent as the store itself has it, not as this replica's view knows it. */
export async function loadAgent(
  store: Store,
  namespace: string,
  agentId: string,
): Promise<KnownAgent | undefined> {
  const entry = await store.get(namespace, agentKey(agentId));
  if (entry === undefined) return undefined;
  return { namespace, id: agentId, record: decodeRecord(entry.value), revision: entry.revision };
}
