import {
  type ChangeBatch,
  type ChangePage,
  type Entry,
  type Position,
  QUIET_PREFIX,
  type SeriesEntry,
  type SeriesRange,
} from '../store.ts';
import type { Tree } from './environment.ts';
import {
  entryRange,
  keyOfEntry,
  logEnd,
  logKey,
  placeOfSeriesKey,
  revisionOfLogKey,
  seriesEnd,
  seriesKey,
  seriesStart,
} from './keys.ts';
import { headOf, oldestOf } from './namespaces.ts';
import {
  readBatch,
  revisionOfEntry,
  timeOfSeriesEntry,
  valueOfEntry,
  valueOfSeriesEntry,
} from './records.ts';

/** A page of the log is cut off at about this size, so that a reader far behind costs no memory. */
const PAGE_BYTES = 4 << 20;

// Each function reads in one go, without giving way to the event loop, and so sees one snapshot.

export function scanEntries(
  tree: Tree,
  id: number,
  options: { prefix: string; after?: string; limit: number },
): { entries: Entry[]; more: boolean } {
  const entries: Entry[] = [];
  const range = entryRange(id, options.prefix, options.after);
  for (const { key, value } of tree.getRange({ ...range, limit: options.limit + 1 })) {
    if (entries.length === options.limit) return { entries, more: true };
    entries.push({ key: keyOfEntry(key), value: valueOfEntry(value), revision: revisionOfEntry(value) });
  }
  return { entries, more: false };
}

/** The whole namespace, as followers are told of it. */
export function scanTold(tree: Tree, id: number): Entry[] {
  const entries: Entry[] = [];
  const all = entryRange(id, '', undefined);
  const quiet = entryRange(id, QUIET_PREFIX, undefined);
  for (const range of [
    { start: all.start, end: quiet.start },
    { start: quiet.end, end: all.end },
  ]) {
    for (const { key, value } of tree.getRange(range)) {
      entries.push({ key: keyOfEntry(key), value: valueOfEntry(value), revision: revisionOfEntry(value) });
    }
  }
  return entries;
}

export interface LogPlace {
  namespace: string;
  id: number;
  epoch: bigint;
}

export function readChanges(tree: Tree, place: LogPlace, after: Position, limit: number): ChangePage {
  const head = headOf(tree, place.id);
  if (after.revision > head) return { kind: 'epoch', epoch: place.epoch };
  const oldest = oldestOf(tree, place.id);
  if (after.revision + 1n < oldest) return { kind: 'compacted', oldest: oldest - 1n };
  const batches: ChangeBatch[] = [];
  let bytes = 0;
  const range = { start: logKey(place.id, after.revision + 1n), end: logEnd(place.id), limit };
  for (const { key, value } of tree.getRange(range)) {
    batches.push(readBatch(value, place.namespace, place.epoch, revisionOfLogKey(key)));
    bytes += value.length;
    if (bytes >= PAGE_BYTES) break;
  }
  return { kind: 'page', batches, complete: (batches.at(-1)?.revision ?? head) === head };
}

export function readSeriesEntries(tree: Tree, id: number, series: string, range: SeriesRange): SeriesEntry[] {
  const { after, limit, reverse = false } = range;
  const first = seriesStart(id, series);
  const last = seriesEnd(id, series);
  const edge = after && seriesKey(id, series, after.revision, after.index);
  const found: SeriesEntry[] = [];
  // The edge itself is left out, so one more is asked for.
  const bounds = reverse ? { start: edge ?? last, end: first } : { start: edge ?? first, end: last };
  for (const { key, value } of tree.getRange({ ...bounds, reverse, limit: limit + 1 })) {
    if (edge?.equals(key) || found.length === limit) continue;
    found.push({
      ...placeOfSeriesKey(key),
      timeMs: timeOfSeriesEntry(value),
      value: valueOfSeriesEntry(value),
    });
  }
  return found;
}
