import type { Entry, Position } from '../store.ts';
import type { Reader } from './reader.ts';

const PAGE = 2_000;
const LOG_PAGE = 256;
const MAX_ATTEMPTS = 5;

/**
 * The whole content of a namespace at one position, without stopping the store for it: pages of different moments,
 * over which the log from the first to the last of them is replayed.
 */
export async function readSnapshot(
  reader: Reader,
  namespace: string,
): Promise<{ position: Position; entries: Entry[] }> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const snapshot = await tryToRead(reader, namespace);
    if (snapshot) return snapshot;
  }
  throw new Error('the namespace changes faster than it can be read');
}

async function tryToRead(reader: Reader, namespace: string) {
  let page = await reader.scanTold(namespace, { limit: PAGE });
  if (page.since.epoch !== page.position.epoch) return undefined;
  if (!page.more && page.since.revision === page.position.revision) return page;
  const entries = new Map<string, Entry>();
  let position = page.since;
  for (;;) {
    for (const entry of page.entries) entries.set(entry.key, entry);
    const last = page.entries.at(-1);
    if (!page.more || !last) break;
    page = await reader.scanTold(namespace, { after: last.key, limit: PAGE });
    if (page.position.epoch !== position.epoch) return undefined;
  }
  const end = page.position.revision;
  while (position.revision < end) {
    const log = await reader.changes(namespace, position, LOG_PAGE);
    if (log.kind !== 'page') return undefined;
    for (const { epoch, revision, changes } of log.batches) {
      for (const { key, value } of changes) {
        if (value) entries.set(key, { key, value, revision });
        else entries.delete(key);
      }
      position = { epoch, revision };
    }
  }
  return { position, entries: [...entries.values()] };
}
