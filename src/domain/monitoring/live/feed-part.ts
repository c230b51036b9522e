import type { Message } from '@bufbuild/protobuf';
import type { WatchLiveRequest_Part } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { FeedCursor, FeedEntry, KeyedFeed } from './keyed-feed.ts';
import type { LiveCase, LiveNews, LivePart, PartContext } from './live-part.ts';
import { Piece } from './wire.ts';

/** Things of one kind, made for all that watch them. */
export interface FeedHub {
  readonly feed: KeyedFeed;
  /** Looks for what changed without being told; may be called as often as anybody likes. */
  sweep(): void;
  /** A thing as it is now, encoded once; undefined: there is nothing to tell of it. */
  bytes(entry: FeedEntry): Uint8Array | undefined;
}

/** How things are told. */
export interface FeedShape {
  part: WatchLiveRequest_Part;
  case: LiveCase;
  /** The field of the response that has them… */
  field: number;
  /** …and the one that says that the snapshot is complete; 0: there is none. */
  syncedField: number;
  /** At most so many in a message. */
  maxEntries: number;
  /** The response from its bytes, for those that read JSON. */
  decode(bytes: Uint8Array): Message;
}

export interface FeedPartOptions extends PartContext {
  hub: FeedHub;
  shape: FeedShape;
  clock: Clock;
  /** The watcher is gone. */
  closed(): void;
}

const MAX_BYTES = 128 * 1024;
/** Changes are told together with those that come within this time. */
const GATHER_MS = 100;

/** Things that come as a snapshot, then one by one as they are after they changed. */
export class FeedPart implements LivePart {
  readonly part: WatchLiveRequest_Part;
  readonly #options: FeedPartOptions;
  readonly #cursor: FeedCursor;
  #nextMs = 0;
  #toldSynced = false;

  constructor(options: FeedPartOptions) {
    this.#options = options;
    this.part = options.shape.part;
    this.#cursor = options.hub.feed.cursor();
  }

  take(): LiveNews | undefined {
    const { hub, shape, clock, json } = this.#options;
    if (!this.#cursor.inPass) {
      const nowMs = clock.monoMs();
      if (nowMs < this.#nextMs) return undefined;
      this.#nextMs = nowMs + GATHER_MS;
      hub.sweep();
    }
    const piece = new Piece();
    let entries = 0;
    while (entries < shape.maxEntries && piece.size < MAX_BYTES) {
      const entry = this.#cursor.next();
      if (entry === undefined) break;
      const bytes = hub.bytes(entry);
      if (bytes !== undefined) {
        piece.field(shape.field, bytes);
        entries += 1;
      }
      if (!this.#cursor.inPass) break;
    }
    if (entries === 0 && (this.#toldSynced || !this.#cursor.synced)) return undefined;
    this.#toldSynced ||= this.#cursor.synced;
    if (shape.syncedField > 0) piece.number(shape.syncedField, this.#toldSynced ? 1 : 0);
    const bytes = piece.bytes();
    return json ? { case: shape.case, value: shape.decode(bytes) } : { case: shape.case, bytes };
  }

  dueMs(): number {
    return this.#cursor.inPass ? 0 : Math.max(this.#nextMs, this.#options.clock.monoMs() + SWEEP_MS);
  }

  close(): void {
    this.#cursor.close();
    this.#options.closed();
  }
}

/** Without being woken, a part looks this often. */
const SWEEP_MS = 500;
