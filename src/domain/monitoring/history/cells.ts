import { bucketOf, Sketch } from './sketch.ts';
import { readBuckets, writeBuckets } from './sketch-codec.ts';
import { ByteReader, ByteWriter } from './varints.ts';

/** What was measured in one step. */
export interface Cell {
  count: number;
  sum: number;
  min: number;
  max: number;
  /** Each bucket with values in it, by value, followed by how many are. */
  buckets: readonly number[];
}

/** Values that are kept as they are; beyond they are put together. */
const KEPT = 512;
/** The buckets of a cell in the making. One for all: none is left half-made. */
const scratch = new Uint16Array(KEPT);

/** Collects the measurements of a step. Adding one is cheap; what follows from them is worked out once, at its end. */
export class CellBuilder {
  #values: number[] = [];
  #folded: Bin | undefined;

  get isEmpty(): boolean {
    return this.#values.length === 0 && this.#folded === undefined;
  }

  add(value: number): void {
    this.#values.push(value);
    if (this.#values.length >= KEPT) this.#fold();
  }

  /** What was added since; begins anew. Undefined: nothing. */
  take(): Cell | undefined {
    if (this.#folded === undefined) {
      if (this.#values.length === 0) return undefined;
      const cell = cellOf(this.#values);
      this.#values.length = 0;
      return cell;
    }
    this.#fold();
    const cell = this.#folded.cell();
    this.#folded = undefined;
    return cell;
  }

  #fold(): void {
    if (this.#values.length === 0) return;
    this.#folded ??= new Bin();
    this.#folded.addCell(cellOf(this.#values));
    this.#values.length = 0;
  }
}

/** @param values at most KEPT */
function cellOf(values: readonly number[]): Cell {
  const count = values.length;
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  let sum = 0;
  for (const value of values) {
    sum += value;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  if (min === max) return evenCell(count, min);
  for (let index = 0; index < count; index += 1) scratch[index] = bucketOf(values[index] ?? 0);
  const sorted = scratch.subarray(0, count).sort();
  const buckets: number[] = [];
  let at = 0;
  while (at < count) {
    const bucket = sorted[at] ?? 0;
    let end = at + 1;
    while (end < count && sorted[end] === bucket) end += 1;
    buckets.push(bucket, end - at);
    at = end;
  }
  return { count, sum, min, max, buckets };
}

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

  addCell({ count, sum, min, max, buckets }: Cell): void {
    this.add(count, sum, min, max);
    for (let at = 0; at < buckets.length; at += 2) this.sketch.addTo(buckets[at] ?? 0, buckets[at + 1] ?? 0);
  }

  cell(): Cell {
    const { count, sum, min, max } = this;
    return { count, sum, min, max, buckets: this.sketch.flat() };
  }
}

/** A cell of measurements that are all the same. */
export function evenCell(count: number, value: number): Cell {
  return { count, sum: count * value, min: value, max: value, buckets: [bucketOf(value), count] };
}

/** How a cell is written: all values the same, different ones, or as the one before, so many times more. */
const EVEN = 0;
const MIXED = 1;
const AGAIN = 2;
const KINDS = 3;

/**
 * Writes cells one after another. Of each stands first by how many steps it is away from the one before, then its values: floats
 * of 32 bits, and buckets. Measurements that stay the same take no room.
 */
export class CellWriter {
  readonly #out = new ByteWriter();
  #last = -1;
  #even: { count: number; value: number } | undefined;
  #again = 0;

  /** The place of the last cell; below 0: there is none. */
  get last(): number {
    return this.#last;
  }

  /** @param index its place, after that of the last one */
  add(index: number, cell: Cell): void {
    if (index <= this.#last) throw new RangeError(`cell ${index} comes after cell ${this.#last}`);
    const gap = index - this.#last - 1;
    this.#last = index;
    const value = Math.fround(cell.min);
    const isSame = value === Math.fround(cell.max);
    if (isSame && gap === 0 && this.#even?.count === cell.count && this.#even.value === value) {
      this.#again += 1;
      return;
    }
    this.#flush(this.#out);
    this.#again = 0;
    const kind = isSame ? EVEN : MIXED;
    this.#out.varint(gap * KINDS + kind);
    this.#out.varint(cell.count);
    this.#even = isSame ? { count: cell.count, value } : undefined;
    this.#out.float(isSame ? value : cell.sum / cell.count);
    if (isSame) return;
    this.#out.float(cell.min);
    this.#out.float(cell.max);
    writeBuckets(this.#out, cell.buckets);
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const { length } = this.#out;
    this.#flush(this.#out);
    const bytes = this.#out.take();
    this.#out.cut(length);
    return bytes;
  }

  #flush(out: ByteWriter): void {
    if (this.#again === 0) return;
    out.varint(AGAIN);
    out.varint(this.#again);
  }
}

/** Whoever reads cells: told of each in their order, without an object for each. */
export interface CellSink {
  /** A cell begins. */
  cell(index: number, count: number, sum: number, min: number, max: number): void;
  /** A bucket of the cell that was told of last. */
  bucket(bucket: number, count: number): void;
}

/** Cells of bytes that are not as CellWriter writes them are told as far as they go. */
export function readCells(bytes: Uint8Array, sink: CellSink): void {
  const from = new ByteReader(bytes);
  let index = -1;
  let even: { count: number; value: number; bucket: number } | undefined;
  const tellEven = (): void => {
    if (even === undefined) return;
    const { count, value, bucket } = even;
    sink.cell(index, count, count * value, value, value);
    sink.bucket(bucket, count);
  };
  while (!from.done) {
    const word = from.varint();
    const kind = word % KINDS;
    if (kind === AGAIN) {
      for (let left = Math.min(from.varint(), MAX_AGAIN); left > 0; left -= 1) {
        index += 1;
        tellEven();
      }
      continue;
    }
    index += Math.floor(word / KINDS) + 1;
    const count = from.varint();
    const mean = from.float();
    if (kind === EVEN) {
      even = { count, value: mean, bucket: bucketOf(mean) };
      tellEven();
      continue;
    }
    even = undefined;
    const min = from.float();
    const max = from.float();
    sink.cell(index, count, mean * count, min, max);
    readBuckets(from, (bucket, held) => sink.bucket(bucket, held));
  }
}

/** No chunk has so many cells. */
const MAX_AGAIN = 100_000;
