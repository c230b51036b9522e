import { create, fromBinary } from '@bufbuild/protobuf';
import { MonitorRecordSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import type { SeriesEntry, Store } from '../../../state/store.ts';
import { EVENT_SERIES } from '../events.ts';

export interface FeedCursorOptions {
  sink: string;
  namespace: string;
  store: Pick<Store, 'get' | 'readSeries'>;
  retentionMs: number;
  sinceMs: number;
}

/** Behind the last of its commit. */
const LAST_INDEX = 0xffff_ffff;
const PAGE = 1000;
/** Also where nothing happens it is stored now and then, or a gap could not be told from silence. */
const FRESH_MS = 3_600_000;

const feedKey = (sink: string): string => `monitor/feed-${sink}`;

/** How far a sink has heard of the events of a namespace. Whole commits are stored: after a takeover the last one may come again. */
export class FeedCursor {
  readonly #options: FeedCursorOptions;
  /** The last entry that one is done with. */
  #place = { revision: 0n, index: LAST_INDEX };
  /** All entries of commits up to here are done with. */
  #revision = 0n;
  /** Up to this time by the store's clock everything is done with. */
  #timeMs = 0;
  #storedMs = 0;

  constructor(options: FeedCursorOptions) {
    this.#options = options;
  }

  get after(): { revision: bigint; index: number } {
    return this.#place;
  }

  /** Whether there was one; else it stands where a new sink begins. @throws StoreUnavailableError */
  async load(): Promise<boolean> {
    const { store, namespace, sink, sinceMs } = this.#options;
    const entry = await store.get(namespace, feedKey(sink));
    if (entry === undefined) {
      const revision = await this.#before(sinceMs);
      this.#set(revision, sinceMs);
      return false;
    }
    const record = fromBinary(MonitorRecordSchema, entry.value);
    this.#set(record.revision, Number(record.timeMs));
    this.stored();
    return true;
  }

  passed({ revision, index, timeMs }: SeriesEntry): void {
    if (revision > this.#place.revision) this.#revision = this.#place.revision;
    this.#place = { revision, index };
    // One that belongs to a commit which is not done with yet counts by the time before it.
    this.#timeMs = Math.max(this.#timeMs, timeMs - 1);
  }

  /** Nothing more was there at this time. */
  atEnd(storeMs: number): void {
    this.#revision = this.#place.revision;
    this.#timeMs = Math.max(this.#timeMs, storeMs);
  }

  /** Since when events that one is not done with may have been removed as too old; undefined: all of them are there. */
  missedSince(storeMs: number): number | undefined {
    return storeMs - this.#timeMs > this.#options.retentionMs ? this.#timeMs : undefined;
  }

  /** It was not looked at for long, as nothing happened. */
  isOld(storeMs: number): boolean {
    return storeMs - this.#timeMs >= this.#freshMs;
  }

  /** What is stored of it is from long ago, and it knows better. */
  isStale(storeMs: number): boolean {
    return this.#timeMs > this.#storedMs && storeMs - this.#storedMs >= this.#freshMs;
  }

  get #freshMs(): number {
    return Math.min(FRESH_MS, this.#options.retentionMs / 4);
  }

  put(epoch: bigint): { key: string; value: Uint8Array } {
    const record = create(MonitorRecordSchema, {
      format: 1,
      epoch,
      revision: this.#revision,
      timeMs: BigInt(Math.floor(this.#timeMs)),
    });
    return { key: feedKey(this.#options.sink), value: encode(MonitorRecordSchema, record) };
  }

  stored(): void {
    this.#storedMs = this.#timeMs;
  }

  #set(revision: bigint, timeMs: number): void {
    this.#place = { revision, index: LAST_INDEX };
    this.#revision = revision;
    this.#timeMs = timeMs;
  }

  /** The revision after which everything is as new as `sinceMs`. */
  async #before(sinceMs: number): Promise<bigint> {
    const { store, namespace } = this.#options;
    let after: { revision: bigint; index: number } | undefined;
    for (;;) {
      const page = await store.readSeries(namespace, EVENT_SERIES, {
        ...(after === undefined ? {} : { after }),
        limit: PAGE,
        reverse: true,
      });
      const older = page.find((entry) => entry.timeMs < sinceMs);
      if (older !== undefined) return older.revision;
      after = page.at(-1);
      if (page.length < PAGE || after === undefined) return 0n;
    }
  }
}
