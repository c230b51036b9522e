import { fromBinary } from '@bufbuild/protobuf';
import { OperationSchema } from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import {
  LiveOperationsSchema,
  WatchLiveRequest_Part,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { encode } from '../../../lib/encode.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { OperationReader } from '../../coordination/operations/operation-reader.ts';
import { hasEnded, operationOf } from '../../coordination/operations/operation-record.ts';
import type { KnownOperation, OperationView } from '../../coordination/operations/operation-view.ts';
import type { FeedHub, FeedShape } from './feed-part.ts';
import { type FeedEntry, KeyedFeed } from './keyed-feed.ts';

export interface OperationHubOptions {
  namespace: string;
  clock: Clock;
  operations: OperationView;
  reader: Pick<OperationReader, 'show'>;
}

export const OPERATIONS_SHAPE: FeedShape = {
  part: WatchLiveRequest_Part.OPERATIONS,
  case: 'operations',
  field: 1,
  syncedField: 0,
  maxEntries: 32,
  decode: (bytes) => fromBinary(LiveOperationsSchema, bytes),
};

/** Of those that have ended, so many are shown. */
const MAX_ENDED = 50;
/** What becomes of agents comes in many small commits: progress is told this often. */
const SWEEP_MS = 400;

/** The operations of a namespace, for all that watch them live. Those that ended long ago are not told of. */
export class OperationHub implements FeedHub {
  readonly feed = new KeyedFeed();
  readonly #options: OperationHubOptions;
  readonly #told = new Map<string, Uint8Array>();
  #isDirty = true;
  #sweptMs = Number.NEGATIVE_INFINITY;

  constructor(options: OperationHubOptions) {
    this.#options = options;
  }

  /** Something about the namespace's operations changed. */
  touch(): void {
    this.#isDirty = true;
  }

  sweep(): void {
    const { clock, namespace, operations } = this.#options;
    const nowMs = clock.monoMs();
    if (!this.#isDirty || nowMs - this.#sweptMs < SWEEP_MS) return;
    this.#sweptMs = nowMs;
    this.#isDirty = false;
    const underway = operations.underway(namespace);
    const shown = new Map(underway.map((known) => [known.id, known]));
    for (const known of lastEnded(operations.all(namespace))) shown.set(known.id, known);
    for (const known of shown.values()) {
      const bytes = this.#encoded(known);
      if (Buffer.compare(this.#told.get(known.id) ?? NOTHING, bytes) === 0) continue;
      this.#told.set(known.id, bytes);
      this.feed.put(known.id);
    }
    for (const id of this.#told.keys()) {
      if (shown.has(id)) continue;
      this.#told.delete(id);
      this.feed.remove(id);
    }
  }

  bytes(entry: FeedEntry): Uint8Array | undefined {
    return entry.removed ? undefined : this.#told.get(entry.key);
  }

  #encoded({ namespace, id, record, revision }: KnownOperation): Uint8Array {
    return encode(OperationSchema, this.#options.reader.show(namespace, id, record, revision));
  }
}

const NOTHING = new Uint8Array();

function lastEnded(all: readonly KnownOperation[]): KnownOperation[] {
  const ended = all.filter(({ record }) => hasEnded(record));
  if (ended.length <= MAX_ENDED) return ended;
  return ended.sort((a, b) => startOf(b) - startOf(a)).slice(0, MAX_ENDED);
}

function startOf({ record }: KnownOperation): number {
  const { startTime } = operationOf(record);
  return startTime === undefined ? 0 : msFromTimestamp(startTime);
}
