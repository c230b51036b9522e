import { create } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type Event,
  type EventFilter,
  type GetEventRequest,
  type GetEventResponse,
  type ListEventsRequest,
  type ListEventsResponse,
  ListEventsResponseSchema,
  type WatchEventsRequest,
  type WatchEventsResponse,
  WatchEventsResponseSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { Breather } from '../../lib/breather.ts';
import { encodeCursor } from '../../lib/cursor.ts';
import { DomainError } from '../../lib/errors.ts';
import { decodePageToken, encodePageToken, fingerprint } from '../../lib/page-token.ts';
import { msFromTimestamp } from '../../lib/proto-time.ts';
import type { Position, SeriesEntry, Store } from '../../state/store.ts';
import type { Views } from '../../state/views.ts';
import { cursorPosition } from '../cursors.ts';
import { namespaceOf } from '../namespaces.ts';
import { peekEventType } from './alerts/event-types.ts';
import { eventChain } from './event-chain.ts';
import { EVENT_SERIES, readEvent } from './events.ts';

export interface EventLogOptions {
  store: Store;
  views: Views;
  /** How long events are kept. */
  retentionMs: number;
  /** Monotonic milliseconds; for tests. */
  monoMs?: () => number;
}

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;
/** Entries that one page may look at; a filter that matches less gives a short page and a token to go on. */
const MAX_SCANNED = 10_000;
const CHUNK = 500;
const MAX_EVENTS = 256;
const PROGRESS_MS = 60_000;
const TRIM_CHUNK = 1000;
/** Chunks of one namespace a call. At a call a minute, a thousand events a second do not outgrow their retention. */
const TRIM_CHUNKS = 60;

/** Reads what happened. */
export class EventLog {
  readonly #options: EventLogOptions;
  /** One for all lists: a report reads page after page. */
  readonly #breather: Breather;

  constructor(options: EventLogOptions) {
    this.#options = options;
    this.#breather = new Breather(options.monoMs);
  }

  async list(request: ListEventsRequest): Promise<ListEventsResponse> {
    const namespace = namespaceOf(request);
    const print = fingerprint([namespace, filterParts(request.filter)]);
    let before = request.pageToken === '' ? undefined : placeAfter(request.pageToken, print);
    const size = request.pageSize === 0 ? DEFAULT_PAGE : Math.min(MAX_PAGE, request.pageSize);
    const matches = compileEventFilter(request.filter);
    const isOfType = typeFilter(request.filter?.types ?? []);
    const startMs =
      request.filter?.startTime === undefined ? undefined : msFromTimestamp(request.filter.startTime);
    const events: Event[] = [];
    for (let scanned = 0; scanned < MAX_SCANNED; ) {
      const entries = await this.#read(namespace, before);
      for (const entry of entries) {
        // Entries are in the order of their commits: nothing older can be of interest.
        if (startMs !== undefined && entry.timeMs < startMs - CLOCK_SLACK_MS) return page(events, '');
        if (this.#breather.isDue) await this.#breather.breathe();
        before = { revision: entry.revision, index: entry.index };
        // Most are of other types: those are not worth decoding.
        if (isOfType !== undefined && !isOfType(peekEventType(entry.value) ?? '')) continue;
        const event = readEvent(namespace, entry, entry.value);
        if (matches(event)) events.push(event);
        if (events.length === size) return page(events, tokenFor(print, before));
      }
      scanned += entries.length;
      if (entries.length < CHUNK) return page(events, '');
    }
    return page(events, before === undefined ? '' : tokenFor(print, before));
  }

  /** @throws DomainError EVENT_NOT_FOUND */
  chain(request: GetEventRequest): Promise<GetEventResponse> {
    return eventChain(this.#options.store, request);
  }

  async *watch(
    request: WatchEventsRequest,
    signal: AbortSignal,
  ): AsyncGenerator<WatchEventsResponse, void, undefined> {
    const { views } = this.#options;
    const namespace = namespaceOf(request);
    const matches = compileEventFilter(request.filter);
    let position =
      request.cursor === '' ? views.position(namespace) : cursorPosition(request.cursor, namespace);
    let synced = false;
    for await (const batch of views.follow(namespace, position, signal, PROGRESS_MS)) {
      if (batch === 'synced' || batch === 'tick') {
        synced = true;
        yield news([], cursorOf(namespace, position), synced);
        continue;
      }
      position = { epoch: batch.epoch, revision: batch.revision };
      const events = batch.appends
        .filter(({ series }) => series === EVENT_SERIES)
        .map(({ index, value }) => readEvent(namespace, { revision: batch.revision, index }, value))
        .filter(matches);
      for (let at = 0; at < events.length; at += MAX_EVENTS) {
        // A cursor stands for whole commits.
        const last = at + MAX_EVENTS >= events.length;
        yield news(events.slice(at, at + MAX_EVENTS), last ? cursorOf(namespace, position) : '', synced);
      }
    }
  }

  /** Removes events that are older than the retention; bounded work a call. */
  async trim(): Promise<void> {
    const { store, retentionMs } = this.#options;
    const beforeMs = (await store.now()) - retentionMs;
    for (const namespace of await store.namespaces()) {
      for (let chunk = 0; chunk < TRIM_CHUNKS; chunk += 1) {
        const removed = await store.trimSeries(namespace, EVENT_SERIES, beforeMs, TRIM_CHUNK);
        if (removed < TRIM_CHUNK) break;
      }
    }
  }

  #read(namespace: string, before: { revision: bigint; index: number } | undefined): Promise<SeriesEntry[]> {
    const after = before === undefined ? {} : { after: before };
    return this.#options.store.readSeries(namespace, EVENT_SERIES, { ...after, limit: CHUNK, reverse: true });
  }
}

/** How far the clocks of replicas and of the store may differ. */
const CLOCK_SLACK_MS = 60_000;

/** Whether an event matches all given parts of a validated filter. */
export function compileEventFilter(filter: EventFilter | undefined): (event: Event) => boolean {
  if (filter === undefined) return () => true;
  const agents = new Set(filter.agentIds);
  const isOfType = typeFilter(filter.types);
  const { causeId, actor } = filter;
  const byActor = actor.endsWith('*') ? actor.slice(0, -1) : undefined;
  const startMs = filter.startTime === undefined ? undefined : msFromTimestamp(filter.startTime);
  const endMs = filter.endTime === undefined ? undefined : msFromTimestamp(filter.endTime);
  return (event) => {
    if (agents.size > 0 && !agents.has(event.agentId)) return false;
    if (event.severity < filter.minSeverity) return false;
    if (causeId !== '' && event.causeId !== causeId) return false;
    if (actor !== '' && (byActor === undefined ? event.actor !== actor : !event.actor.startsWith(byActor))) {
      return false;
    }
    if (isOfType?.(event.type) === false) return false;
    const timeMs = event.time === undefined ? 0 : msFromTimestamp(event.time);
    return (startMs === undefined || timeMs >= startMs) && (endMs === undefined || timeMs < endMs);
  };
}

/** Undefined: all types match. */
function typeFilter(types: readonly string[]): ((type: string) => boolean) | undefined {
  if (types.length === 0) return undefined;
  const exact = new Set(types.filter((type) => !type.endsWith('*')));
  const prefixes = types.filter((type) => type.endsWith('*')).map((type) => type.slice(0, -1));
  return (type) => exact.has(type) || prefixes.some((prefix) => type.startsWith(prefix));
}

function filterParts(filter: EventFilter | undefined): (string | number)[] {
  if (filter === undefined) return [];
  const time = (timestamp: EventFilter['startTime']): string =>
    timestamp === undefined ? '' : `${timestamp.seconds}.${timestamp.nanos}`;
  return [
    [...filter.agentIds].sort().join(','),
    [...filter.types].sort().join(','),
    filter.minSeverity,
    time(filter.startTime),
    time(filter.endTime),
    filter.causeId,
    filter.actor,
  ];
}

/** "<revision>-<index>", both far below what a store counts to. */
const PLACE = /^(\d{1,18})-(\d{1,9})$/;

function placeAfter(token: string, print: string): { revision: bigint; index: number } {
  const decoded = decodePageToken(token, { kind: 'events', fingerprint: print });
  // The token's checksum keeps nobody from making one up.
  const [, revision, index] = (decoded.kind === 'token' && PLACE.exec(decoded.after)) || [];
  if (revision !== undefined && index !== undefined)
    return { revision: BigInt(revision), index: Number(index) };
  const description = decoded.kind === 'invalid' ? decoded.description : 'is not a page token of this method';
  throw new DomainError({
    reason: ErrorReason.INVALID_FIELDS,
    message: `page_token ${description}`,
    violations: [{ field: 'page_token', description }],
  });
}

const tokenFor = (print: string, place: { revision: bigint; index: number }): string =>
  encodePageToken({ kind: 'events', fingerprint: print, after: `${place.revision}-${place.index}` });

const page = (events: Event[], nextPageToken: string): ListEventsResponse =>
  create(ListEventsResponseSchema, { events, nextPageToken });

const news = (events: Event[], cursor: string, synced: boolean): WatchEventsResponse =>
  create(WatchEventsResponseSchema, { events, cursor, synced });

const cursorOf = (namespace: string, position: Position): string => encodeCursor({ namespace, ...position });
