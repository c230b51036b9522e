import { create } from '@bufbuild/protobuf';
import {
  Aggregation,
  type MetricPoint,
  MetricPointSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import { Bin, type CellSink } from './cells.ts';

const QUANTILES = new Map<Aggregation, number>([
  [Aggregation.P50, 0.5],
  [Aggregation.P95, 0.95],
  [Aggregation.P99, 0.99],
]);

export const isQuantile = (aggregation: Aggregation): boolean => QUANTILES.has(aggregation);

/** What a bin tells. */
function valueOfBin(bin: Bin, aggregation: Aggregation): number {
  switch (aggregation) {
    case Aggregation.MIN:
      return bin.min;
    case Aggregation.MAX:
      return bin.max;
    case Aggregation.AVG:
      return bin.sum / bin.count;
    default: {
      const value = bin.sketch.quantile(QUANTILES.get(aggregation) ?? 0.5) ?? bin.sum / bin.count;
      // The ends are known exactly.
      return Math.min(bin.max, Math.max(bin.min, value));
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
          values: aggregations.map((aggregation) => valueOfBin(bin, aggregation)),
          count: BigInt(Math.round(bin.count)),
        }),
      );
  }
}
