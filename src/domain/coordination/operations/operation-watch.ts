import { create } from '@bufbuild/protobuf';
import {
  type AgentOutcome,
  AgentOutcome_State,
  type WatchOperationRequest,
  type WatchOperationResponse,
  WatchOperationResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { encodeCursor } from '../../../lib/cursor.ts';
import type { ChangeBatch, Position, Store } from '../../../state/store.ts';
import type { Views } from '../../../state/views.ts';
import { cursorPosition } from '../../cursors.ts';
import { namespaceOf } from '../../namespaces.ts';
import { publicOutcome, readAgents } from './operation-pages.ts';
import type { OperationReader } from './operation-reader.ts';
import { decodeOperation, decodeOutcome, hasEnded, operationEntry } from './operation-record.ts';

export interface OperationWatchOptions {
  store: Store;
  views: Views;
  reader: OperationReader;
}

const PAGE = 256;
/** Without changes the cursor is renewed this often, so that it does not age out of the log. */
const PROGRESS_MS = 60_000;

/**
 * Follows one operation for one caller, until it has ended. Its agents are read in pages of different moments, and then the
 * log from before the first of them: what a page had already is not told a second time, so that no agent goes back in time.
 */
export async function* watchOperation(
  request: WatchOperationRequest,
  signal: AbortSignal,
  { store, views, reader }: OperationWatchOptions,
): AsyncGenerator<WatchOperationResponse, void, undefined> {
  const namespace = namespaceOf(request);
  const { operationId: id, cursor } = request;
  const resumed = cursor !== '';
  let position = resumed ? cursorPosition(cursor, namespace) : await store.position(namespace);
  let { record, revision } = await reader.load(namespace, id);
  const told = new Map<number, bigint>();
  const news = (agents: AgentOutcome[], at = '', synced = false): WatchOperationResponse =>
    create(WatchOperationResponseSchema, {
      operation: reader.show(namespace, id, record, revision),
      agents,
      cursor: at,
      synced,
    });
  /** Those of the agents that are `wanted`, in pages. */
  async function* pages(wanted: (outcome: AgentOutcome, isStored: boolean) => boolean) {
    for (let from: number | undefined = 0; from !== undefined && !signal.aborted; ) {
      const page = await readAgents(store, namespace, { id, record }, { from, size: PAGE });
      for (const { place, revision: at } of page.agents) told.set(place, at);
      const agents = page.agents.filter((each) => wanted(each.outcome, each.revision > 0n));
      if (agents.length > 0) yield news(agents.map(({ outcome }) => outcome));
      from = page.next;
    }
  }
  if (!resumed) yield* pages(() => true);
  let synced = false;
  for await (const event of views.follow(namespace, position, signal, PROGRESS_MS)) {
    if (event === 'synced' || event === 'tick') {
      synced = true;
      yield news([], cursorOf(namespace, position), true);
      if (hasEnded(record)) return;
      continue;
    }
    position = { epoch: event.epoch, revision: event.revision };
    const change = changeOf(event, id);
    if (change === undefined) continue;
    if (change.kind === 'gone') return;
    if (change.record !== undefined && event.revision >= revision) {
      const again = change.record.retryRound > record.retryRound || (resumed && change.record.retryRound > 0);
      ({ record } = change);
      revision = event.revision;
      // Those that are tried again wait, though nothing was written about them.
      if (again) {
        yield* pages((outcome, isStored) => isStored && outcome.state === AgentOutcome_State.WAITING);
      }
    }
    const agents = change.outcomes.flatMap(({ place, value }) => {
      if ((told.get(place) ?? 0n) >= event.revision) return [];
      const stored = decodeOutcome(value);
      return [publicOutcome(record, place, stored.outcome?.agentId ?? '', stored)];
    });
    if (agents.length === 0 && change.record === undefined) continue;
    for (let from = 0; from === 0 || from < agents.length; from += PAGE) {
      yield news(agents.slice(from, from + PAGE), cursorOf(namespace, position), synced);
    }
    if (synced && hasEnded(record)) return;
  }
}

/** What a commit changed of an operation; undefined: nothing. */
function changeOf(batch: ChangeBatch, id: string) {
  const outcomes: { place: number; value: Uint8Array }[] = [];
  let record: ReturnType<typeof decodeOperation> | undefined;
  for (const { key, value } of batch.changes) {
    const entry = operationEntry(key);
    if (entry?.id !== id) continue;
    if (entry.kind === 'operation') {
      if (value === undefined) return { kind: 'gone' as const };
      record = decodeOperation(value);
    } else if (entry.kind === 'outcome' && value !== undefined) {
      outcomes.push({ place: entry.place, value });
    }
  }
  if (record === undefined && outcomes.length === 0) return undefined;
  return { kind: 'news' as const, record, outcomes };
}

const cursorOf = (namespace: string, position: Position): string => encodeCursor({ namespace, ...position });
