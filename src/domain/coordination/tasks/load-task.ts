import type { Store } from '../../../state/store.ts';
import { archiveKey, type KnownTask, knownTask, taskKey } from './task-record.ts';

/** A task as the store itself has it, not as this replica's view knows it; also one that ended long ago. */
export async function loadTask(store: Store, namespace: string, id: string): Promise<KnownTask | undefined> {
  const entry = await store.get(namespace, taskKey(id));
  if (entry !== undefined) return knownTask(namespace, taskKey(id), entry.value, entry.revision);
  const archived = await store.get(namespace, archiveKey(id));
  return archived && knownTask(namespace, taskKey(id), archived.value, archived.revision);
}
