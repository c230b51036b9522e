import type { Store } from '../../../state/store.ts';
import { alertKey, copyAlertRecord, decodeAlert, encodeAlert } from '../alerts/alert-record.ts';
import type { KeptAlert, SenderLease, Told } from './ports.ts';

/** What a sink is still to be told of an alert; undefined: nothing. */
export function pendingOf({ record }: KeptAlert, sink: string): Told | undefined {
  const telling = record.tellings[sink];
  if (telling === undefined || telling.want === telling.told) return undefined;
  return asTold(telling.want);
}

/** How often one that wants to hear again and again is told that an alert is over. */
const RESOLVED_TIMES = 3;

/**
 * What a sink that forgets is to be told once more; undefined: nothing now.
 * @param lastMs when it was last told by this replica; undefined: it was not
 */
export function resendOf(
  { record }: KeptAlert,
  sink: string,
  now: { storeMs: number; resendMs: number; lastMs: number | undefined },
): Told | undefined {
  const telling = record.tellings[sink];
  if (telling === undefined || telling.want !== telling.told) return undefined;
  const { storeMs, resendMs, lastMs } = now;
  const toldMs = Number(telling.toldMs);
  const what = asTold(telling.told);
  if (what === 'firing') return lastMs === undefined || storeMs - lastMs >= resendMs ? what : undefined;
  // The first time was when it was told.
  const isOver = storeMs - toldMs >= RESOLVED_TIMES * resendMs - resendMs / 2;
  return !isOver && storeMs - (lastMs ?? toldMs) >= resendMs ? what : undefined;
}

const asTold = (text: string): Told | undefined =>
  text === 'firing' || text === 'resolved' ? text : undefined;

export interface StoreToldOptions {
  store: Store;
  lease: SenderLease;
  namespace: string;
  alertId: string;
  sink: string;
  what: Told;
  /** By the store's clock. */
  storeMs: number;
  /** As it was last seen. */
  kept: KeptAlert;
}

export type StoredTold =
  | { kind: 'stored'; epoch: bigint; revision: bigint }
  /** The alert is not kept any more, or has nothing for this sink. */
  | { kind: 'gone' }
  /** Another replica sends now; it will tell it again. */
  | { kind: 'not_held' };

const ATTEMPTS = 8;

/**
 * Stores that a sink has been told, whatever else became of the alert meanwhile.
 * @throws StoreUnavailableError; also when the alert changes all the time
 */
export async function storeTold(options: StoreToldOptions): Promise<StoredTold> {
  const { store, lease, namespace, alertId, sink, what, storeMs } = options;
  let kept: KeptAlert | undefined = options.kept;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const held = lease.held(namespace);
    if (held === undefined) return { kind: 'not_held' };
    if (kept?.record.tellings[sink] === undefined) return { kind: 'gone' };
    const record = copyAlertRecord(kept.record);
    const telling = record.tellings[sink];
    if (telling === undefined) return { kind: 'gone' };
    telling.told = what;
    telling.toldMs = BigInt(Math.round(storeMs));
    const key = alertKey(alertId);
    const outcome = await store.commit({
      namespace,
      checks: [held.fence, { key, revision: kept.revision }],
      puts: [{ key, value: encodeAlert(record) }],
    });
    if (outcome.kind === 'committed') return { ...outcome, kind: 'stored' };
    if (outcome.kind === 'conflict' && outcome.key === held.fence.key) {
      lease.lost(namespace);
      return { kind: 'not_held' };
    }
    const entry = await store.get(namespace, key);
    kept = entry && { record: decodeAlert(entry.value, entry.revision), revision: entry.revision };
  }
  throw new Error(`the alert ${alertId} changes faster than can be stored what was told`);
}
