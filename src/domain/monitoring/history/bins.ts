import { create } from '@bufbuild/protobuf';
import {
  Aggregation,
  type MetricPoint,
  MetricPointSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Cell, CellSink } from './cells.ts';
import { Sketch } from './sketch.ts';

const QUANTILES = new Map<Aggregation, number>([
  [Aggregation.P50, 0.5],
  [Aggregation.P95, 0.95],
  [Aggregation.P99, 0.99],
]);

export const isQuantile = (aggregation: Aggregation): boolean => QUANTILES.has(aggregation);

/** Cells put together. */
export class Bin {
  count = 0;
  sum = 0;
  min = Number.POSITIVE_INFINITY;
  max = Number.NEGATIVE_INFINITY;
  readonly sketch = new Sketch();

  add(count: number, sum: number, min: number, max: number): void {
    this.count += count;
    this.sum += sum;
    if (min < this.min) this.min = min;
    if (max > this.max) this.max = max;
  }

  cell(): Cell {
    const { count, sum, min, max } = this;
    return { count, sum, min, max, buckets: [...this.sketch.buckets()] };
  }

  value(aggregation: Aggregation): number {
    switch (aggregation) {
      case Aggregation.MIN:
        return this.min;
      case Aggregation.MAX:
        return this.max;
      case Aggregation.AVG:
        return this.sum / this.count;
      default: {
        const value = this.sketch.quantile(QUANTILES.get(aggregation) ?? 0.5) ?? this.sum / this.count;
        // The ends are known exactly.
        return Math.min(this.max, Math.max(this.min, value));
      }
    }
  }
}

export interface BinsOptions {
  /** From here (inclusive) to here (exclusive), milliseconds. */
  fromMs: number;
  toMs: number;
  stepMs: number;
  aggregations: readonly Aggregation[];
}

/** A series in the making: what is read is put into steps that are aligned to the Unix epoch. */
export class Bins implements CellSink {
  readonly #options: BinsOptions;
  readonly #bins = new Map<number, Bin>();
  readonly #withSketch: boolean;
  #chunk = { startMs: 0, stepMs: 1, fromMs: 0, toMs: 0 };
  #current: Bin | undefined;

  constructor(options: BinsOptions) {
    this.#options = options;
    this.#withSketch = options.aggregations.some(isQuantile);
  }

  /** The cells that follow are of a chunk that begins then; only those within a stretch of time count. */
  begin(chunk: { startMs: number; stepMs: number; fromMs: number; toMs: number }): void {
    this.#chunk = chunk;
    this.#current = undefined;
  }

  cell(index: number, count: number, sum: number, min: number, max: number): void {
    const { startMs, stepMs, fromMs, toMs } = this.#chunk;
    const atMs = startMs + index * stepMs;
    this.#current = undefined;
    if (atMs < fromMs || atMs >= toMs || count <= 0) return;
    const step = Math.floor(atMs / this.#options.stepMs);
    let bin = this.#bins.get(step);
    if (bin === undefined) {
      bin = new Bin();
      this.#bins.set(step, bin);
    }
    bin.add(count, sum, min, max);
    if (this.#withSketch) this.#current = bin;
  }

  bucket(bucket: number, count: number): void {
    this.#current?.sketch.addTo(bucket, count);
  }

  points(): MetricPoint[] {
    const { stepMs, aggregations } = this.#options;
    return [...this.#bins]
      .sort(([a], [b]) => a - b)
      .map(([step, bin]) =>
        create(MetricPointSchema, {
          time: timestampFromMs(step * stepMs),
          values: aggregations.map((aggregation) => bin.value(aggregation)),
          count: BigInt(Math.round(bin.count)),
        }),
      );
  }
}
