import type { Event } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { MonitorRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { ChangeBatch, Check, SeriesEntry, Store } from '../../../state/store.ts';
import type { Views } from '../../../state/views.ts';
import { EVENT_SERIES, readEvent } from '../events.ts';
import { peekEventType } from './event-types.ts';

export interface EventSourceOptions {
  namespace: string;
  store: Pick<Store, 'readSeries' | 'status'>;
  views: Pick<Views, 'position'>;
  /** Whether events of a type are of interest. */
  wants(type: string): boolean;
}

/** Events that wait in memory; of more, the rest is read from the store again. */
export const MAX_WAITING = 5_000;
const PAGE = 1000;
/** Events that are looked at to count those of a window. */
const MAX_RECALLED = 20_000;
const MAX_INDEX = 2 ** 31;
/** After a failover the store may have lost its last moments: what happened then is looked at again. */
const OVERLAP_MS = 5_000;

/** The events of a namespace, in order, without gaps: new ones from the view, missed ones from the store. */
export class EventSource {
  readonly #options: EventSourceOptions;
  #waiting: Event[] = [];
  /** Up to here everything was judged. */
  #judged = 0n;
  /** Up to here everything of interest is waiting or was judged. */
  #heard = 0n;
  /** More than fits has come: what follows `#heard` must be read. */
  #behind = true;
  #stored = 0n;

  constructor(options: EventSourceOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.length + (this.#behind ? 1 : 0);
  }

  /** The revision up to which everything was judged. */
  get judged(): bigint {
    return this.#waiting.length > 0 || this.#behind ? this.#judged : this.#heard;
  }

  /** Whether that is more than was stored last. */
  get advanced(): boolean {
    return this.judged > this.#stored;
  }

  stored(): void {
    this.#stored = this.judged;
  }

  /** A commit, as the view hears of it. */
  heard({ revision, appends }: ChangeBatch): void {
    if (this.#behind || revision <= this.#heard) return;
    if (this.#waiting.length >= MAX_WAITING) {
      this.#behind = true;
      return;
    }
    const { namespace, wants } = this.#options;
    for (const { series, value, index } of appends) {
      if (series !== EVENT_SERIES) continue;
      const type = peekEventType(value);
      if (type !== undefined && wants(type))
        this.#waiting.push(readEvent(namespace, { revision, index }, value));
    }
    if (appends.length > 0) this.#heard = revision;
  }

  /**
   * Begins after what was judged before; where nothing ever was, with what comes from now on. Returns what happened within
   * the window before that, oldest first.
   */
  async begin(
    progress: MonitorRecord | undefined,
    given: { windowMs: number; fence: Check },
  ): Promise<readonly Event[]> {
    const { store } = this.#options;
    const { epoch } = store.status();
    this.#waiting = [];
    this.#behind = true;
    this.#judged = given.fence.revision;
    if (progress !== undefined) {
      this.#judged =
        progress.epoch === epoch
          ? progress.revision
          : await this.#beforeTime(Number(progress.timeMs) - OVERLAP_MS);
    }
    this.#heard = this.#judged;
    this.#stored = this.#judged;
    return given.windowMs === 0 ? [] : this.#recall(given.windowMs);
  }

  /** The next ones; `upTo`: once these are judged, everything up to that revision is. */
  async take(limit: number): Promise<{ events: readonly Event[]; upTo: bigint }> {
    if (this.#waiting.length === 0 && this.#behind) await this.#catchUp();
    let count = Math.min(limit, this.#waiting.length);
    // A revision is judged as a whole.
    while (
      count < this.#waiting.length &&
      this.#waiting[count]?.revision === this.#waiting[count - 1]?.revision
    )
      count += 1;
    const events = this.#waiting.slice(0, count);
    const upTo = count === this.#waiting.length ? this.#heard : (events.at(-1)?.revision ?? this.#judged);
    return { events, upTo };
  }

  /** What `take` gave is judged and stored. */
  done(upTo: bigint): void {
    const rest = this.#waiting.findIndex(({ revision }) => revision > upTo);
    this.#waiting = rest < 0 ? [] : this.#waiting.slice(rest);
    if (upTo > this.#judged) this.#judged = upTo;
  }

  /** What is stored as judged need not be judged again. */
  skip(upTo: bigint): void {
    if (upTo <= this.#judged) return;
    this.done(upTo);
    if (upTo > this.#heard) this.#heard = upTo;
  }

  /** Reads what was missed, a page at a time; from the last one on the view tells. */
  async #catchUp(): Promise<void> {
    const { namespace, store, views, wants } = this.#options;
    const position = views.position(namespace).revision;
    const entries = await store.readSeries(namespace, EVENT_SERIES, {
      after: { revision: this.#heard, index: MAX_INDEX },
      limit: PAGE,
    });
    for (const { revision, index, value } of entries) {
      const type = peekEventType(value);
      if (type !== undefined && wants(type))
        this.#waiting.push(readEvent(namespace, { revision, index }, value));
    }
    const last = entries.at(-1);
    if (entries.length === PAGE && last !== undefined) {
      // A commit may go on on the next page.
      const next = await store.readSeries(namespace, EVENT_SERIES, { after: last, limit: 1 });
      if (next[0]?.revision === last.revision) this.#dropUnfinished(last.revision);
      else this.#heard = last.revision;
      if (next.length > 0) return;
    } else if (last !== undefined) this.#heard = last.revision;
    // The store may be ahead of the view: what the view has not told yet is heard twice, and known by its revision.
    if (views.position(namespace).revision !== position) return;
    this.#behind = false;
    if (position > this.#heard) this.#heard = position;
  }

  #dropUnfinished(revision: bigint): void {
    this.#waiting = this.#waiting.filter((event) => event.revision < revision);
    this.#heard = revision - 1n;
  }

  async #beforeTime(beforeMs: number): Promise<bigint> {
    const found = await this.#back((entry) => entry.timeMs < beforeMs);
    return found === undefined ? 0n : found.revision;
  }

  async #recall(windowMs: number): Promise<Event[]> {
    const { namespace, wants } = this.#options;
    const events: Event[] = [];
    let newestMs: number | undefined;
    await this.#back((entry) => {
      newestMs ??= entry.timeMs;
      if (entry.timeMs < newestMs - windowMs) return true;
      const type = peekEventType(entry.value);
      if (entry.revision <= this.#judged && type !== undefined && wants(type))
        events.push(readEvent(namespace, entry, entry.value));
      return false;
    });
    return events.reverse();
  }

  /** Goes back from the newest entry until `found` says so, or too far. */
  async #back(found: (entry: SeriesEntry) => boolean): Promise<SeriesEntry | undefined> {
    const { namespace, store } = this.#options;
    let after: SeriesEntry | undefined;
    for (let looked = 0; looked < MAX_RECALLED; ) {
      const entries: SeriesEntry[] = await store.readSeries(namespace, EVENT_SERIES, {
        ...(after === undefined ? {} : { after }),
        limit: PAGE,
        reverse: true,
      });
      for (const entry of entries) if (found(entry)) return entry;
      looked += entries.length;
      after = entries.at(-1);
      if (entries.length < PAGE) return undefined;
    }
    return after;
  }
}
