import type { LiveRecord } from '../store.ts';
import type { Tree } from './environment.ts';
import { EXPIRY_START, expiryEnd, liveKey, logKey, requestOfExpiry, seriesEnd, seriesStart } from './keys.ts';
import { type NamespaceState, type Namespaces, withOldest } from './namespaces.ts';
import { type RecordWriter, readRequest, timeOfSeriesEntry, writeLive } from './records.ts';

/** Work of one step, so that no commit waits long behind it. */
const STEP_BATCHES = 200;
const STEP_REQUESTS = 500;

export interface LogBounds {
  logMaxAgeMs: number;
  logMaxBytes: number;
}

/** Whether the log of a namespace is over its bounds; the last batch always stays. */
export function isOver(state: NamespaceState, bounds: LogBounds, nowMs: number): boolean {
  if (state.oldest >= state.head) return false;
  return (
    state.headBytes - state.bytesBefore > bounds.logMaxBytes ||
    state.oldestTimeMs < nowMs - bounds.logMaxAgeMs
  );
}

/** Removes a bounded number of old batches, within a transaction. */
export function trimLogs(tree: Tree, namespaces: Namespaces, bounds: LogBounds, nowMs: number): void {
  let left = STEP_BATCHES;
  for (const name of namespaces.names()) {
    let state = namespaces.working(name);
    if (!state || !isOver(state, bounds, nowMs)) continue;
    while (left > 0 && isOver(state, bounds, nowMs)) {
      tree.removeSync(logKey(state.id, state.oldest));
      state = withOldest(tree, state, state.oldest + 1n);
      left--;
    }
    namespaces.set(name, state);
    if (left === 0) return;
  }
}

/** Removes entries older than `beforeMs`, within a transaction; returns how many. */
export function trimSeriesEntries(
  tree: Tree,
  id: number,
  series: string,
  beforeMs: number,
  limit: number,
): number {
  const old: Buffer[] = [];
  for (const { key, value } of tree.getRange({
    start: seriesStart(id, series),
    end: seriesEnd(id, series),
    limit,
  })) {
    if (timeOfSeriesEntry(value) >= beforeMs) break;
    old.push(key);
  }
  for (const key of old) tree.removeSync(key);
  return old.length;
}

/** Whether the answer of a request is to be forgotten. */
export function hasExpired(tree: Tree, nowMs: number): boolean {
  for (const _ of tree.getKeys({ start: EXPIRY_START, end: expiryEnd(nowMs), limit: 1 })) return true;
  return false;
}

/** Forgets a bounded number of expired requests, within a transaction. */
export function forgetRequests(tree: Tree, nowMs: number): void {
  const expired = [...tree.getKeys({ start: EXPIRY_START, end: expiryEnd(nowMs), limit: STEP_REQUESTS })];
  for (const key of expired) {
    tree.removeSync(key);
    const place = requestOfExpiry(key);
    const record = tree.get(place);
    if (record && readRequest(record).expiresMs <= nowMs) tree.removeSync(place);
  }
}

/** Writes live records, within a transaction. */
export function writeLiveRecords(tree: Tree, writer: RecordWriter, records: readonly LiveRecord[]): void {
  for (const record of records) {
    const place = liveKey(record.namespace, record.key);
    if (record.value) tree.putSync(place, writeLive(writer, { ...record, value: record.value }));
    else tree.removeSync(place);
  }
}
