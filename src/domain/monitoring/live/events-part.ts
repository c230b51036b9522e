import { create } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type Event,
  type EventFilter,
  EventSchema,
  ListEventsRequestSchema,
  WatchEventsResponseSchema,
  WatchLiveRequest_Part,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { encode } from '../../../lib/encode.ts';
import { DomainError } from '../../../lib/errors.ts';
import { type ChangeBatch, type Position, StoreUnavailableError } from '../../../state/store.ts';
import type { Views } from '../../../state/views.ts';
import { compileEventFilter, type EventLog } from '../event-log.ts';
import { EVENT_SERIES, readEvent } from '../events.ts';
import type { LiveNews, LivePart, PartContext } from './live-part.ts';
import { Piece } from './wire.ts';

export interface EventsPartOptions extends PartContext {
  filter: EventFilter | undefined;
  /** So many that went before come first. */
  recent: number;
  log: EventLog;
  views: Views;
  shared: SharedEvents;
}

/** Events that wait here; the rest waits, bounded as well, where commits are followed. */
const MAX_WAITING = 2048;
const MAX_EVENTS = 256;
const MAX_BYTES = 128 * 1024;
const PROGRESS_MS = 60_000;
const AGAIN_MS = 1000;
/** Pages that are looked through for recent events that match. */
const RECENT_PAGES = 5;

const EVENTS = 1;
const SYNCED = 3;

/** Events in their order, each once; a reader that falls too far behind is cut off. */
export class EventsPart implements LivePart {
  readonly part = WatchLiveRequest_Part.EVENTS;
  readonly #options: EventsPartOptions;
  readonly #matches: (event: Event) => boolean;
  readonly #end = new AbortController();
  #waiting: Event[] = [];
  #at = 0;
  #failure: Error | undefined;
  #synced = false;
  #toldSynced = false;
  #room: (() => void) | undefined;

  constructor(options: EventsPartOptions) {
    this.#options = options;
    this.#matches = compileEventFilter(options.filter);
    this.#run().catch((error: unknown) => {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      options.wake();
    });
  }

  take(): LiveNews | undefined {
    if (this.#at < this.#waiting.length) return this.#next();
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#toldSynced || !this.#synced) return undefined;
    this.#toldSynced = true;
    return this.#news([]);
  }

  dueMs(): number {
    return this.#at < this.#waiting.length ? 0 : Number.POSITIVE_INFINITY;
  }

  close(): void {
    this.#end.abort();
    this.#room?.();
  }

  #next(): LiveNews {
    const events: Event[] = [];
    let bytes = 0;
    while (this.#at < this.#waiting.length && events.length < MAX_EVENTS && bytes < MAX_BYTES) {
      const event = this.#waiting[this.#at];
      this.#at += 1;
      if (event === undefined) break;
      events.push(event);
      bytes += event.message.length + 256;
    }
    if (this.#at === this.#waiting.length) {
      this.#waiting = [];
      this.#at = 0;
      this.#room?.();
    }
    return this.#news(events);
  }

  #news(events: Event[]): LiveNews {
    const synced = this.#toldSynced;
    if (this.#options.json)
      return { case: 'events', value: create(WatchEventsResponseSchema, { events, synced }) };
    const piece = new Piece();
    for (const event of events) piece.field(EVENTS, this.#options.shared.bytes(event));
    return { case: 'events', bytes: piece.number(SYNCED, synced ? 1 : 0).bytes() };
  }

  async #run(): Promise<void> {
    const { views, namespace } = this.#options;
    const { signal } = this.#end;
    let position: Position | undefined;
    while (!signal.aborted) {
      try {
        if (position === undefined) {
          this.#synced = false;
          this.#toldSynced = false;
          const from = views.position(namespace);
          this.#add(await this.#recent(from));
          position = from;
        }
        for await (const event of views.follow(namespace, position, signal, PROGRESS_MS)) {
          if (event === 'synced' || event === 'tick') {
            if (this.#synced) continue;
            this.#synced = true;
            this.#options.wake();
          } else {
            position = { epoch: event.epoch, revision: event.revision };
            this.#add(this.#ofBatch(event));
            if (this.#waiting.length >= MAX_WAITING) await this.#hasRoom();
          }
        }
      } catch (error) {
        if (error instanceof StoreUnavailableError) {
          await pause(AGAIN_MS, signal);
        } else if (error instanceof DomainError && BEGINS_ANEW.has(error.reason)) {
          // What was there before is told again: the store was replaced, or its log was outrun.
          position = undefined;
          await pause(AGAIN_MS, signal);
        } else throw error;
      }
    }
  }

  /** Those before a position, oldest first. */
  async #recent(position: Position): Promise<Event[]> {
    const { log, namespace, filter, recent } = this.#options;
    const found: Event[] = [];
    let pageToken = '';
    for (let page = 0; page < RECENT_PAGES && found.length < recent; page += 1) {
      const request = create(ListEventsRequestSchema, { namespace, pageSize: recent, pageToken });
      if (filter !== undefined) request.filter = filter;
      const { events, nextPageToken } = await log.list(request);
      for (const event of events) if (event.revision <= position.revision) found.push(event);
      pageToken = nextPageToken;
      if (pageToken === '') break;
    }
    return found.slice(0, recent).reverse();
  }

  #ofBatch(batch: ChangeBatch): Event[] {
    const events: Event[] = [];
    for (const { series, index, value } of batch.appends) {
      if (series !== EVENT_SERIES) continue;
      const event = this.#options.shared.event(batch, index, value);
      if (this.#matches(event)) events.push(event);
    }
    return events;
  }

  #add(events: readonly Event[]): void {
    if (events.length === 0) return;
    for (const event of events) this.#waiting.push(event);
    this.#options.wake();
  }

  #hasRoom(): Promise<void> {
    return new Promise((resolve) => {
      this.#room = () => {
        this.#room = undefined;
        resolve();
      };
      if (this.#end.signal.aborted || this.#waiting.length === 0) this.#room();
    });
  }
}

const BEGINS_ANEW: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.CURSOR_COMPACTED,
  ErrorReason.CURSOR_EPOCH,
]);

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
  });
}

/** Events decoded and encoded once for all that watch them. */
export class SharedEvents {
  readonly #byValue = new WeakMap<Uint8Array, Event>();
  readonly #bytes = new WeakMap<Event, Uint8Array>();

  event({ namespace, revision }: ChangeBatch, index: number, value: Uint8Array): Event {
    const known = this.#byValue.get(value);
    if (known !== undefined) return known;
    const event = readEvent(namespace, { revision, index }, value);
    this.#byValue.set(value, event);
    return event;
  }

  bytes(event: Event): Uint8Array {
    const known = this.#bytes.get(event);
    if (known !== undefined) return known;
    const made = encode(EventSchema, event);
    this.#bytes.set(event, made);
    return made;
  }
}
