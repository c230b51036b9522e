import { create } from '@bufbuild/protobuf';
import {
  type StateChange,
  StateChange_Type,
  StateChangeSchema,
  StateEntrySchema,
  type WatchStateRequest,
  type WatchStateResponse,
  WatchStateResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import { encodeCursor } from '../../../lib/cursor.ts';
import type { ChangeBatch, Position, Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { Views } from '../../../state/views.ts';
import { cursorPosition } from '../../cursors.ts';
import { namespaceOf } from '../../namespaces.ts';
import { hasExpired, keyOfState, publicEntry, STATE_PREFIX } from './state-record.ts';

export interface StateWatchOptions {
  store: Store;
  storeTime: StoreTime;
  views: Views;
}

const PAGE = 100;
/** Without changes the cursor is renewed this often, so that it does not age out of the log. */
const PROGRESS_MS = 60_000;

/**
 * Follows the entries under a prefix for one caller. The snapshot is read in pages of different moments, and then the log
 * from the first of them on: what a page had already is not told a second time, so that no entry goes back in time.
 */
export async function* watchState(
  request: WatchStateRequest,
  signal: AbortSignal,
  { store, storeTime, views }: StateWatchOptions,
): AsyncGenerator<WatchStateResponse, void, undefined> {
  const namespace = namespaceOf(request);
  const prefix = STATE_PREFIX + request.prefix;
  /** Revisions that the snapshot had; a key that is not among them was not there. */
  const told = new Map<string, bigint>();
  let position: Position;
  if (request.cursor === '') {
    let page = await store.scan(namespace, { prefix, limit: PAGE });
    position = page.position;
    for (;;) {
      const storeMs = storeTime.ms();
      const changes: StateChange[] = [];
      for (const { key, value, revision } of page.entries) {
        const entry = publicEntry(namespace, keyOfState(key), value, revision);
        if (hasExpired(entry, storeMs)) continue;
        told.set(key, revision);
        changes.push(create(StateChangeSchema, { type: StateChange_Type.UPSERTED, entry }));
      }
      if (changes.length > 0) yield news(changes, '', false);
      const last = page.entries.at(-1);
      if (!page.more || last === undefined || signal.aborted) break;
      page = await store.scan(namespace, { prefix, limit: PAGE, after: last.key });
    }
  } else {
    position = cursorPosition(request.cursor, namespace);
  }
  let synced = false;
  for await (const event of views.follow(namespace, position, signal, PROGRESS_MS)) {
    if (event === 'synced' || event === 'tick') {
      synced = true;
      told.clear();
      yield news([], cursorOf(namespace, position), synced);
      continue;
    }
    position = { epoch: event.epoch, revision: event.revision };
    const changes = changesOf(event, prefix, told);
    if (changes.length > 0) yield news(changes, cursorOf(namespace, position), synced);
  }
}

function changesOf(batch: ChangeBatch, prefix: string, told: ReadonlyMap<string, bigint>): StateChange[] {
  const { namespace, revision } = batch;
  const changes: StateChange[] = [];
  for (const { key, value } of batch.changes) {
    if (!key.startsWith(prefix) || (told.get(key) ?? 0n) >= revision) continue;
    const name = keyOfState(key);
    changes.push(
      value === undefined
        ? create(StateChangeSchema, {
            type: StateChange_Type.REMOVED,
            entry: create(StateEntrySchema, { namespace, key: name, revision }),
          })
        : create(StateChangeSchema, {
            type: StateChange_Type.UPSERTED,
            entry: publicEntry(namespace, name, value, revision),
          }),
    );
  }
  return changes;
}

const cursorOf = (namespace: string, position: Position): string => encodeCursor({ namespace, ...position });

const news = (changes: StateChange[], cursor: string, synced: boolean): WatchStateResponse =>
  create(WatchStateResponseSchema, { changes, cursor, synced });
