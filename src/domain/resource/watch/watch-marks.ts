import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  type ResourceWatchRecord,
  type ResourceWatchRecord_UsageMark,
  ResourceWatchRecord_UsageMarkSchema,
  ResourceWatchRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/watch_pb.ts';
import { type Check, QUIET_PREFIX, type Store } from '../../../state/store.ts';
import type { EventWriter, NewEvent } from '../../monitoring/events.ts';

const PREFIX = `${QUIET_PREFIX}watch/`;
const FORMAT = 1;
/** Agents that one commit changes. */
const CHUNK = 64;
const PAGE = 1_000;

/** What was told of one agent. */
export interface Mark {
  /** Resources of which more is reserved than may be, each since when, by the store's clock. */
  over: ReadonlyMap<string, number>;
  usage: ReadonlyMap<string, ResourceWatchRecord_UsageMark>;
}

export interface MarkChange {
  agentId: string;
  mark: Mark;
  events: NewEvent[];
}

interface Loaded {
  /** Of the lease under which it was read: whoever had it before may have written later than that. */
  fence: Check;
  marks: Map<string, Mark>;
}

export const NO_MARK: Mark = { over: new Map(), usage: new Map() };

export const usageMark = (mark: Partial<ResourceWatchRecord_UsageMark> = {}): ResourceWatchRecord_UsageMark =>
  Object.assign(create(ResourceWatchRecord_UsageMarkSchema), mark);

/**
 * What the watch over resources has told, by namespace and agent: in memory at the replica that watches, and stored in the
 * commit that tells it, so that nothing is told twice or left out when another one takes over.
 */
export class WatchMarks {
  readonly #store: Store;
  readonly #events: EventWriter;
  readonly #loaded = new Map<string, Loaded>();

  constructor({ store, events }: { store: Store; events: EventWriter }) {
    this.#store = store;
    this.#events = events;
  }

  /** By agent; those of whom nothing was told are left out. @throws StoreUnavailableError */
  async of(namespace: string, fence: Check): Promise<{ marks: ReadonlyMap<string, Mark>; anew: boolean }> {
    const known = this.#loaded.get(namespace);
    if (known !== undefined && known.fence.key === fence.key && known.fence.revision === fence.revision) {
      return { marks: known.marks, anew: false };
    }
    const marks = new Map<string, Mark>();
    for (let after = ''; ; ) {
      const page = { prefix: PREFIX, limit: PAGE, ...(after === '' ? {} : { after }) };
      const { entries, more } = await this.#store.scan(namespace, page);
      for (const { key, value } of entries) marks.set(key.slice(PREFIX.length), markOf(value));
      const last = entries.at(-1);
      if (!more || last === undefined) break;
      after = last.key;
    }
    this.#loaded.set(namespace, { fence, marks });
    return { marks, anew: true };
  }

  /** Stores changes with the events that tell of them. @throws StoreUnavailableError */
  async write(namespace: string, fence: Check, changes: readonly MarkChange[]): Promise<void> {
    for (let from = 0; from < changes.length; from += CHUNK) {
      const some = changes.slice(from, from + CHUNK);
      const kept = some.filter(({ mark }) => !isEmpty(mark));
      const gone = some.filter(({ mark }) => isEmpty(mark));
      try {
        const outcome = await this.#store.commit({
          namespace,
          checks: [fence],
          puts: kept.map(({ agentId, mark }) => ({ key: PREFIX + agentId, value: encode(mark) })),
          deletes: gone.map(({ agentId }) => PREFIX + agentId),
          appends: some.flatMap(({ events }) => events.map((event) => this.#events.append(event))),
        });
        // Another replica watches now.
        if (outcome.kind !== 'committed') {
          this.#loaded.delete(namespace);
          return;
        }
      } catch (error) {
        // Whether it was stored is read from the store.
        this.#loaded.delete(namespace);
        throw error;
      }
      const marks = this.#loaded.get(namespace)?.marks;
      for (const { agentId, mark } of kept) marks?.set(agentId, mark);
      for (const { agentId } of gone) marks?.delete(agentId);
    }
  }
}

const isEmpty = ({ over, usage }: Mark): boolean => over.size === 0 && usage.size === 0;

function encode({ over, usage }: Mark): Uint8Array {
  const record = create(ResourceWatchRecordSchema);
  record.format = FORMAT;
  record.overReservedMs = Object.fromEntries(
    [...over].map(([name, sinceMs]) => [name, BigInt(Math.round(sinceMs))]),
  );
  record.usage = Object.fromEntries(usage);
  return toBinary(ResourceWatchRecordSchema, record);
}

function markOf(value: Uint8Array): Mark {
  const record: ResourceWatchRecord = fromBinary(ResourceWatchRecordSchema, value);
  return {
    over: new Map(Object.entries(record.overReservedMs).map(([name, ms]) => [name, Number(ms)])),
    usage: new Map(Object.entries(record.usage)),
  };
}
