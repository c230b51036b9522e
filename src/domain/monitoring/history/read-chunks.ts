import type { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { Entry, Store } from '../../../state/store.ts';
import {
  keyBefore,
  readKey,
  SPAN_MS,
  type Subject,
  scopePrefix,
  subjectPrefix,
  type Tier,
} from './chunks.ts';
import type { Segment } from './plan.ts';

/** Chunks in one answer of the store. */
const PAGE = 200;

export interface StoredChunk {
  key: string;
  startMs: number;
  value: Uint8Array;
}

/** The chunks of a subject that touch a stretch of time, of all writers, by their times. @throws StoreUnavailableError */
export async function* readChunks(
  store: Store,
  namespace: string,
  subject: Subject,
  { tier, fromMs, toMs }: Segment,
): AsyncGenerator<StoredChunk, void, undefined> {
  const prefix = subjectPrefix(tier, subject);
  const firstMs = Math.floor(fromMs / SPAN_MS[tier]) * SPAN_MS[tier];
  let after = keyBefore(tier, subject, firstMs);
  for (;;) {
    const limit = Math.min(PAGE, Math.ceil((toMs - firstMs) / SPAN_MS[tier]) + 2);
    const { entries, more } = await store.scan(namespace, { prefix, after, limit });
    for (const entry of entries) {
      const chunk = chunkOf(entry);
      if (chunk === undefined) continue;
      if (chunk.startMs >= toMs) return;
      yield chunk;
    }
    const last = entries.at(-1);
    if (!more || last === undefined) return;
    after = last.key;
  }
}

/** A subject of which something is stored. */
export interface StoredSubject {
  id: string;
  /** Of its keys. */
  prefix: string;
  /** Where its oldest chunk begins. */
  oldestMs: number;
}

/** All subjects of a scope, by skipping from one to the next. @param after the prefix of the one after which it begins */
export async function* readSubjects(
  store: Store,
  namespace: string,
  tier: Tier,
  scope: MetricScope,
  after = '',
): AsyncGenerator<StoredSubject, void, undefined> {
  const prefix = scopePrefix(tier, scope);
  let from = after === '' ? prefix : pastOf(after);
  for (;;) {
    const { entries } = await store.scan(namespace, { prefix, after: from, limit: 1 });
    const [entry] = entries;
    if (entry === undefined) return;
    const name = readKey(entry.key);
    if (name === undefined) {
      from = entry.key;
      continue;
    }
    yield { id: name.id, prefix: name.prefix, oldestMs: name.startMs };
    from = pastOf(name.prefix);
  }
}

/** After all chunks of a subject: their keys go on with digits. */
const pastOf = (prefix: string): string => `${prefix}~`;

function chunkOf({ key, value }: Entry): StoredChunk | undefined {
  const name = readKey(key);
  return name && { key, startMs: name.startMs, value };
}
