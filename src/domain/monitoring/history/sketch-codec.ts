import { BUCKETS, Sketch } from './sketch.ts';
import { ByteReader, ByteWriter } from './varints.ts';

/**
 * Buckets one after another: how many there are, then for each the distance from the one before, doubled, and one more if more
 * than one value is in it; then that number follows. Most buckets of few values take one byte.
 */
/** @param buckets each followed by how many values are in it */
export function writeBuckets(to: ByteWriter, buckets: readonly number[]): void {
  to.varint(buckets.length / 2);
  let before = 0;
  for (let at = 0; at < buckets.length; at += 2) {
    const bucket = buckets[at] ?? 0;
    const count = buckets[at + 1] ?? 0;
    to.varint((bucket - before) * 2 + (count > 1 ? 1 : 0));
    if (count > 1) to.varint(count);
    before = bucket;
  }
}

/** Gives each bucket to `take`. */
export function readBuckets(from: ByteReader, take: (bucket: number, count: number) => void): void {
  let bucket = 0;
  for (let left = from.varint(); left > 0 && !from.done; left -= 1) {
    const word = from.varint();
    bucket += Math.floor(word / 2);
    const count = word % 2 === 1 ? from.varint() : 1;
    take(Math.min(BUCKETS - 1, bucket), count);
  }
}

export function encodeSketch(sketch: Sketch): Uint8Array<ArrayBuffer> {
  const to = new ByteWriter();
  writeBuckets(to, sketch.flat());
  return to.take();
}

export function decodeSketch(bytes: Uint8Array): Sketch {
  const sketch = new Sketch();
  readBuckets(new ByteReader(bytes), (bucket, count) => sketch.addTo(bucket, count));
  return sketch;
}
