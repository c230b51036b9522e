import {
  type Event,
  Event_Severity,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import {
  type Append,
  type SeriesEntry,
  type Store,
  StoreFullError,
  StoreUnavailableError,
} from '../../../state/store.ts';
import type { HeldLease } from '../../agent/care/leases.ts';
import { EVENT_SERIES, type EventWriter, readEvent } from '../events.ts';
import { feedEventOf } from './envelopes.ts';
import { FeedCursor } from './feed-cursor.ts';
import type { SinkGate } from './gate.ts';
import type { SenderLease, SinkAdapter, SinkError } from './ports.ts';

export interface EventFeedOptions {
  sink: string;
  namespace: string;
  adapter: SinkAdapter;
  gate: SinkGate;
  lease: SenderLease;
  store: Store;
  storeMs: () => number;
  clock: Clock;
  /** Does work that nobody awaits. */
  run(name: string, work: () => Promise<void>): void;
  events: EventWriter;
  matches: (event: Event) => boolean;
  /** How long events are kept. */
  retentionMs: number;
  /** A sink that has no cursor hears what happened since then, by the store's clock. */
  sinceMs: number;
  /** Told when a turn ends: others may have theirs. */
  onTurn: () => void;
}

/** Events that one turn reads. */
const PAGE = 256;
/** The cursor is stored this often at most while events are sent… */
const SAVE_MS = 500;
/** …and after so many that the sink does not want. */
const SAVE_SKIPPED = 2000;
/** Until a store that was away is asked again. */
const AWAY_MS = 1000;
/** An event that the sink refused so often is passed over, with an event that says so. */
const MAX_REFUSALS = 5;

/**
 * Tells a sink the events of a namespace in their order, each at least once. Reads them from the series, so nothing is kept
 * in memory however many there are; how far it came is stored, and whoever sends next goes on there.
 */
export class EventFeed {
  readonly #options: EventFeedOptions;
  readonly #cursor: FeedCursor;
  #lease: HeldLease | undefined;
  #epoch: bigint | undefined;
  /** Something was appended since it was last read to the end. */
  #news = true;
  #running = false;
  #savedMs = -Infinity;
  /** Since the cursor was stored. */
  #sent = 0;
  #skipped = 0;
  #refusals = 0;
  #retryAtMs = 0;
  #waiting = 0;

  constructor(options: EventFeedOptions) {
    this.#options = options;
    this.#cursor = new FeedCursor(options);
  }

  /** Events that wait, of those that were read; there may be more. */
  get waiting(): number {
    return this.#waiting;
  }

  wake(): void {
    this.#news = true;
  }

  /** Whether it has something to tell, or to store; by the time alone that may come, too. */
  get busy(): boolean {
    return this.#news || this.#sent > 0;
  }

  /** Whether it has something to do and may do it now. */
  get ready(): boolean {
    const { lease, namespace, gate, clock } = this.#options;
    if (this.#running || clock.monoMs() < this.#retryAtMs) return false;
    if (lease.held(namespace) === undefined) {
      this.#forget();
      return false;
    }
    if (this.#cursor.isOld(this.#options.storeMs())) this.#news = true;
    const toSend = this.#news || this.#lease === undefined;
    return (toSend && gate.open('feed')) || (this.#lease !== undefined && this.#mustSave());
  }

  /** One turn: a page of events at most. */
  start(): void {
    const { run, lease, namespace, onTurn } = this.#options;
    const held = lease.held(namespace);
    if (held === undefined || this.#running) return;
    this.#running = true;
    run('feed events', async () => {
      try {
        await this.#turn(held);
      } catch (error) {
        this.#retryAtMs = this.#options.clock.monoMs() + AWAY_MS;
        if (!(error instanceof StoreUnavailableError || error instanceof StoreFullError)) throw error;
      } finally {
        this.#running = false;
        onTurn();
      }
    });
  }

  /** Stores how far it came. @throws StoreUnavailableError */
  async save(): Promise<void> {
    const { lease, namespace } = this.#options;
    const held = lease.held(namespace);
    const isUnsaved = this.#sent + this.#skipped > 0;
    if (held === undefined || this.#lease?.fence.revision !== held.fence.revision || !isUnsaved) return;
    await this.#save(held);
  }

  async #turn(held: HeldLease): Promise<void> {
    const { store } = this.#options;
    const { epoch } = store.status();
    // What was sent is not known here for sure any more: another one may have sent, or the store may have fallen back.
    if (this.#lease?.fence.revision !== held.fence.revision || this.#epoch !== epoch) {
      this.#forget();
      const isNew = !(await this.#cursor.load());
      this.#lease = held;
      this.#epoch = epoch;
      if (isNew) await this.#save(held);
    }
    if (this.#news && this.#options.gate.open('feed')) await this.#sendPage(held);
    if (this.#lease !== undefined && this.#mustSave()) await this.#save(held);
  }

  async #sendPage(held: HeldLease): Promise<void> {
    const { store, namespace, storeMs } = this.#options;
    const beforeMs = storeMs();
    this.#news = false;
    try {
      const page = await store.readSeries(namespace, EVENT_SERIES, {
        after: this.#cursor.after,
        limit: PAGE,
      });
      const missedSinceMs = this.#cursor.missedSince(beforeMs);
      if (page.length === 0 && missedSinceMs !== undefined)
        await this.#tellGap(held, missedSinceMs, beforeMs);
      for (const [index, entry] of page.entries()) {
        this.#waiting = page.length - index;
        if (this.#mustSave()) await this.#save(held);
        if (!(await this.#pass(entry))) {
          this.#news = true;
          return;
        }
        this.#cursor.passed(entry);
        if (index === 0 && missedSinceMs !== undefined)
          await this.#tellGap(held, missedSinceMs, entry.timeMs);
      }
      this.#waiting = 0;
      if (page.length < PAGE) this.#cursor.atEnd(beforeMs);
      else this.#news = true;
    } catch (error) {
      this.#news = true;
      throw error;
    }
  }

  /** Whether one is done with it: the sink has it, or does not want it. */
  async #pass(entry: SeriesEntry): Promise<boolean> {
    const { adapter, gate, matches, namespace, lease, clock, sink } = this.#options;
    const event = readEvent(namespace, entry, entry.value);
    const wanted = matches(event) || isOwnGap(event, sink);
    if (!wanted || adapter.sendEvent === undefined) {
      this.#skipped += 1;
      return true;
    }
    if (!gate.open('feed') || lease.held(namespace)?.fence.revision !== this.#lease?.fence.revision)
      return false;
    const envelope = feedEventOf(event, entry.timeMs);
    const error = await gate.attempt(
      'feed',
      1,
      (signal) => adapter.sendEvent?.(envelope, signal) ?? Promise.resolve(),
    );
    if (error === undefined) {
      this.#refusals = 0;
      this.#sent += 1;
      return true;
    }
    if (!error.refused) return false;
    this.#refusals += 1;
    if (this.#refusals < MAX_REFUSALS) {
      this.#retryAtMs = clock.monoMs() + gate.backoffMs(this.#refusals);
      return false;
    }
    await this.#tellRefused(event, error);
    this.#refusals = 0;
    this.#sent += 1;
    return true;
  }

  #mustSave(): boolean {
    const { clock, storeMs } = this.#options;
    if (this.#cursor.isStale(storeMs()) || this.#skipped >= SAVE_SKIPPED) return true;
    return this.#sent > 0 && clock.monoMs() - this.#savedMs >= SAVE_MS;
  }

  async #save(held: HeldLease, appends: readonly Append[] = []): Promise<void> {
    const { store, namespace, lease, clock } = this.#options;
    const outcome = await store.commit({
      namespace,
      checks: [held.fence],
      puts: [this.#cursor.put(store.status().epoch)],
      appends,
    });
    if (outcome.kind !== 'committed') {
      lease.lost(namespace);
      this.#forget();
      return;
    }
    this.#cursor.stored();
    this.#sent = 0;
    this.#skipped = 0;
    this.#savedMs = clock.monoMs();
  }

  async #tellGap(held: HeldLease, fromMs: number, untilMs: number): Promise<void> {
    const { sink, events } = this.#options;
    const [from, until] = [new Date(fromMs).toISOString(), new Date(untilMs).toISOString()];
    await this.#save(held, [
      events.append({
        type: 'sink.gap',
        severity: Event_Severity.WARNING,
        message: `sink ${sink} did not hear what happened from ${from} to ${until}: events of then are not kept any more`,
        actor: 'rule:sinks',
        attributes: { sink, from, until },
      }),
    ]);
    this.#news = true;
  }

  async #tellRefused(event: Event, error: SinkError): Promise<void> {
    const { sink, events, namespace, store, lease } = this.#options;
    const held = lease.held(namespace);
    // Of those about sinks nothing is told, or there would be one of each one.
    if (held === undefined || event.type.startsWith('sink.')) return;
    const outcome = await store.commit({
      namespace,
      checks: [held.fence],
      appends: [
        events.append({
          type: 'sink.refused',
          severity: Event_Severity.WARNING,
          message: `sink ${sink} refused event ${event.id} (${event.type}) ${MAX_REFUSALS} times; it is passed over: ${error.message}`,
          actor: 'rule:sinks',
          causeId: event.id,
          attributes: { sink, event: event.id, type: event.type },
        }),
      ],
    });
    if (outcome.kind !== 'committed') lease.lost(namespace);
  }

  #forget(): void {
    this.#lease = undefined;
    this.#news = true;
    this.#waiting = 0;
    this.#sent = 0;
    this.#skipped = 0;
  }
}

const isOwnGap = ({ type, attributes }: Event, sink: string): boolean =>
  type === 'sink.gap' && attributes.sink === sink;
