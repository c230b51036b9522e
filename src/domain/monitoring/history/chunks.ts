import { create, fromBinary } from '@bufbuild/protobuf';
import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import {
  type HistoryChunk,
  HistoryChunk_ColumnSchema,
  HistoryChunkSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import { type Cell, CellWriter } from './cells.ts';

/** How finely something is kept. */
export type Tier = 'raw' | 'minutes' | 'hours';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** How long a stretch of time each chunk of a tier is; a divisor of the epoch's days, so that all writers cut alike. */
export const SPAN_MS: Readonly<Record<Tier, number>> = {
  raw: 10 * MINUTE_MS,
  minutes: HOUR_MS,
  hours: 24 * HOUR_MS,
};

export const STEP_MS: Readonly<Record<Exclude<Tier, 'raw'>, number>> = {
  minutes: MINUTE_MS,
  hours: HOUR_MS,
};

/** Whose history it is. */
export interface Subject {
  scope: MetricScope;
  /** Empty: the fleet. */
  id: string;
}

/** Quiet keys: the change log and views know nothing of history. */
const PREFIX = '~h/';
const TIERS: Readonly<Record<Tier, string>> = { raw: 'r', minutes: 'm', hours: 'h' };
const SCOPES = new Map<MetricScope, string>([
  [MetricScope.FLEET, 'f'],
  [MetricScope.ZONE, 'z'],
  [MetricScope.AGENT, 'a'],
  [MetricScope.REPLICA, 'r'],
  [MetricScope.SERVICE, 's'],
]);

/** Where the chunks of all subjects of a scope are. */
export const scopePrefix = (tier: Tier, scope: MetricScope): string =>
  `${PREFIX}${TIERS[tier]}/${SCOPES.get(scope) ?? '?'}/`;

export const subjectPrefix = (tier: Tier, { scope, id }: Subject): string =>
  `${scopePrefix(tier, scope)}${encodeURIComponent(id)}/`;

/** Times are written so that keys are in their order. */
const timeText = (ms: number): string => String(Math.max(0, Math.floor(ms / 1000))).padStart(12, '0');

/** Chunks of a subject from a time on have greater keys than this. */
export const keyBefore = (tier: Tier, subject: Subject, startMs: number): string =>
  subjectPrefix(tier, subject) + timeText(startMs);

export const chunkKey = (tier: Tier, subject: Subject, startMs: number, writer: string): string =>
  `${keyBefore(tier, subject, startMs)}/${writer}`;

export interface ChunkName {
  /** Of the subject, as it stands in the key. */
  prefix: string;
  id: string;
  startMs: number;
}

/** Undefined: it is no key of a chunk. */
export function readKey(key: string): ChunkName | undefined {
  const [, tier, scope, id, start] = key.split('/');
  if (tier === undefined || scope === undefined || id === undefined || start === undefined) return undefined;
  const startMs = Number(start) * 1000;
  if (!Number.isFinite(startMs)) return undefined;
  return { prefix: `${PREFIX}${tier}/${scope}/${id}/`, id: decodeURIComponent(id), startMs };
}

/** A metric, and the resource if it is of one, as one word. */
export const columnName = (metric: string, resource: string): string =>
  resource === '' ? metric : `${metric}/${resource}`;

function splitColumn(name: string): { metric: string; resource: string } {
  const slash = name.indexOf('/');
  return slash < 0
    ? { metric: name, resource: '' }
    : { metric: name.slice(0, slash), resource: name.slice(slash + 1) };
}

/** A chunk that is being written: what was added before it is stored is kept, and the whole is written again each time. */
export class OpenChunk {
  readonly startMs: number;
  readonly stepMs: number;
  readonly #columns = new Map<string, CellWriter>();
  /** Something was added since it was last handed over. */
  changed = false;

  constructor(startMs: number, stepMs: number) {
    this.startMs = startMs;
    this.stepMs = stepMs;
  }

  /** The place of a time in it. */
  indexOf(ms: number): number {
    return Math.floor((ms - this.startMs) / this.stepMs);
  }

  add(column: string, index: number, cell: Cell): void {
    let writer = this.#columns.get(column);
    if (writer === undefined) {
      writer = new CellWriter();
      this.#columns.set(column, writer);
    }
    writer.add(index, cell);
    this.changed = true;
  }

  encode(): Uint8Array {
    return encodeChunk(
      this.startMs,
      this.stepMs,
      [...this.#columns].map(([name, writer]) => [name, writer.bytes()] as const),
    );
  }
}

export function encodeChunk(
  startMs: number,
  stepMs: number,
  columns: readonly (readonly [name: string, cells: Uint8Array])[],
): Uint8Array {
  const chunk = create(HistoryChunkSchema, {
    ...{ format: 1, startMs: BigInt(startMs), stepMs },
    columns: columns.map(([name, cells]) =>
      create(HistoryChunk_ColumnSchema, { ...splitColumn(name), cells }),
    ),
  });
  return encode(HistoryChunkSchema, chunk);
}

/** Undefined: it is of a later version, or no chunk. */
export function decodeChunk(bytes: Uint8Array): HistoryChunk | undefined {
  const chunk = fromBinary(HistoryChunkSchema, bytes);
  return chunk.format === 1 && chunk.stepMs > 0 ? chunk : undefined;
}
