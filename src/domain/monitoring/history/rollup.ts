import { create, fromBinary } from '@bufbuild/protobuf';
import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import { MonitorRecordSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { encode } from '../../../lib/encode.ts';
import type { Store } from '../../../state/store.ts';
import { Bin, type Cell, type CellSink, CellWriter, readCells } from './cells.ts';
import { chunkKey, columnName, decodeChunk, encodeChunk, SPAN_MS, STEP_MS, type Subject } from './chunks.ts';
import { readChunks, readSubjects } from './read-chunks.ts';

export interface RollupOptions {
  store: Store;
  clock: Clock;
  /** How long minutes are kept: what is older cannot be rolled up any more. */
  minutesMs: number;
}

const SCOPES = [MetricScope.FLEET, MetricScope.ZONE, MetricScope.REPLICA, MetricScope.SERVICE];
const HOUR_MS = STEP_MS.hours;
/** Writers store their last minutes within this after an hour is over. */
const GRACE_MS = 3 * 60_000;
/** Hours that are caught up on in one go. */
const HOURS_AT_ONCE = 6;
/** The name of what is made from the chunks of all writers. */
const WRITER = 'all';
/** Under it stands up to where a namespace is rolled up. */
const ROLLED_KEY = '~h-rolled';
const SLICE_MS = 8;

/**
 * Puts the minutes of an hour that is over together, for all subjects of a namespace but single agents. It is made from what is
 * stored, so that doing it again changes nothing: each hour is done twice, the second time with what came late.
 */
export class Rollup {
  readonly #options: RollupOptions;
  #sliceMs = 0;

  constructor(options: RollupOptions) {
    this.#options = options;
  }

  /** What is due in a namespace, a bounded part of it. @throws StoreUnavailableError */
  async run(namespace: string, nowMs: number): Promise<void> {
    const dueMs = Math.floor((nowMs - GRACE_MS) / HOUR_MS) * HOUR_MS;
    // Read each time: whoever stores something late sets it back.
    const mark = await this.#load(namespace);
    let { revision } = mark;
    let rolledMs = mark.rolledMs ?? dueMs - HOUR_MS;
    // The clock was set back, or it was never looked at for longer than minutes are kept.
    rolledMs = Math.min(dueMs, Math.max(rolledMs, dueMs - this.#options.minutesMs));
    this.#sliceMs = this.#options.clock.monoMs();
    for (let done = 0; done < HOURS_AT_ONCE && rolledMs < dueMs; done += 1) {
      await this.#rollUp(namespace, rolledMs - HOUR_MS);
      await this.#rollUp(namespace, rolledMs);
      rolledMs += HOUR_MS;
      if (!(await this.#save(namespace, rolledMs, revision))) return;
      ({ revision } = await this.#load(namespace));
    }
  }

  /**
   * What was measured since then was stored late: its hours are rolled up once more, whoever keeps the namespace.
   * @throws StoreUnavailableError
   */
  async goBack(namespace: string, sinceMs: number): Promise<void> {
    // The hour before it is done as well.
    const backMs = Math.floor(sinceMs / HOUR_MS) * HOUR_MS;
    for (;;) {
      const { rolledMs, revision } = await this.#load(namespace);
      if (rolledMs === undefined || rolledMs <= backMs) return;
      if (await this.#save(namespace, backMs, revision)) return;
    }
  }

  async #rollUp(namespace: string, hourMs: number): Promise<void> {
    for (const scope of SCOPES) {
      for await (const { id } of readSubjects(this.#options.store, namespace, 'minutes', scope)) {
        await this.#subject(namespace, { scope, id }, hourMs);
        await this.#pause();
      }
    }
  }

  async #subject(namespace: string, subject: Subject, hourMs: number): Promise<void> {
    const columns = new Map<string, HourOf>();
    const segment = { tier: 'minutes', fromMs: hourMs, toMs: hourMs + HOUR_MS } as const;
    for await (const { value } of readChunks(this.#options.store, namespace, subject, segment)) {
      for (const { metric, resource, cells } of decodeChunk(value)?.columns ?? []) {
        const name = columnName(metric, resource);
        const hour = columns.get(name) ?? new HourOf();
        columns.set(name, hour);
        readCells(cells, hour);
      }
      await this.#pause();
    }
    if (columns.size === 0) return;
    await this.#put(
      namespace,
      subject,
      hourMs,
      new Map([...columns].map(([name, { bin }]) => [name, bin.cell()])),
    );
  }

  /** Sets one hour of a day's chunk. */
  async #put(
    namespace: string,
    subject: Subject,
    hourMs: number,
    cells: ReadonlyMap<string, Cell>,
  ): Promise<void> {
    const { store } = this.#options;
    const dayMs = Math.floor(hourMs / SPAN_MS.hours) * SPAN_MS.hours;
    const key = chunkKey('hours', subject, dayMs, WRITER);
    const entry = await store.get(namespace, key);
    const days = entry === undefined ? new Map<string, Map<number, Cell>>() : readDay(entry.value);
    const index = (hourMs - dayMs) / HOUR_MS;
    for (const day of days.values()) day.delete(index);
    for (const [name, cell] of cells) days.set(name, (days.get(name) ?? new Map()).set(index, cell));
    const columns = [...days].map(([name, day]) => [name, writeDay(day)] as const);
    // Should another replica do the same at the same time, it does the same.
    await store.commit({
      namespace,
      checks: [{ key, revision: entry?.revision ?? 0n }],
      puts: [{ key, value: encodeChunk(dayMs, HOUR_MS, columns) }],
    });
  }

  /** Up to where a namespace is rolled up; undefined: it never was. */
  async #load(namespace: string): Promise<{ rolledMs: number | undefined; revision: bigint }> {
    const entry = await this.#options.store.get(namespace, ROLLED_KEY);
    if (entry === undefined) return { rolledMs: undefined, revision: 0n };
    const { timeMs } = fromBinary(MonitorRecordSchema, entry.value);
    return { rolledMs: Number(timeMs), revision: entry.revision };
  }

  /** Whether nobody else did meanwhile. */
  async #save(namespace: string, rolledMs: number, revision: bigint): Promise<boolean> {
    const record = create(MonitorRecordSchema, { format: 1, timeMs: BigInt(rolledMs) });
    const outcome = await this.#options.store.commit({
      namespace,
      checks: [{ key: ROLLED_KEY, revision }],
      puts: [{ key: ROLLED_KEY, value: encode(MonitorRecordSchema, record) }],
    });
    return outcome.kind === 'committed';
  }

  async #pause(): Promise<void> {
    const { clock } = this.#options;
    if (clock.monoMs() - this.#sliceMs < SLICE_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#sliceMs = clock.monoMs();
  }
}

/** All cells of an hour as one. */
class HourOf implements CellSink {
  readonly bin = new Bin();

  cell(_index: number, count: number, sum: number, min: number, max: number): void {
    this.bin.add(count, sum, min, max);
  }

  bucket(bucket: number, count: number): void {
    this.bin.sketch.addTo(bucket, count);
  }
}

function readDay(value: Uint8Array): Map<string, Map<number, Cell>> {
  const days = new Map<string, Map<number, Cell>>();
  for (const { metric, resource, cells } of decodeChunk(value)?.columns ?? []) {
    const day = new Map<number, Cell>();
    let buckets: number[] = [];
    readCells(cells, {
      cell: (index, count, sum, min, max) => {
        buckets = [];
        day.set(index, { count, sum, min, max, buckets });
      },
      bucket: (bucket, count) => void buckets.push(bucket, count),
    });
    days.set(columnName(metric, resource), day);
  }
  return days;
}

function writeDay(day: ReadonlyMap<number, Cell>): Uint8Array {
  const writer = new CellWriter();
  for (const [index, cell] of [...day].sort(([a], [b]) => a - b)) writer.add(index, cell);
  return writer.bytes();
}
