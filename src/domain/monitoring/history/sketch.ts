/**
 * Counts of values by logarithmic buckets, after DDSketch (Masson, Rim, Lee, VLDB 2019): whatever is measured, a quantile is
 * within ACCURACY of the exact one, relatively, and sketches of several agents or minutes add up to that of all. Values below
 * SMALLEST count as zero, those above LARGEST as that; so a sketch has some 1,900 buckets at most.
 */
export const ACCURACY = 0.01;
const SMALLEST = 1e-3;
const LARGEST = 1e13;

const GAMMA = (1 + ACCURACY) / (1 - ACCURACY);
const PER_LOG = 1 / Math.log(GAMMA);
const FIRST = Math.ceil(Math.log(SMALLEST) * PER_LOG);

/** Buckets there are: 0 for zero, then up by value. */
export const BUCKETS = Math.ceil(Math.log(LARGEST) * PER_LOG) - FIRST + 2;

/** The bucket of a value; what is below zero, or no number, is zero. */
export function bucketOf(value: number): number {
  if (!(value >= SMALLEST)) return 0;
  return Math.min(BUCKETS - 1, Math.ceil(Math.log(value) * PER_LOG) - FIRST + 1);
}

/** What a value in a bucket is, at most ACCURACY off. */
export function bucketValue(bucket: number): number {
  return bucket === 0 ? 0 : (2 * GAMMA ** (bucket + FIRST - 1)) / (GAMMA + 1);
}

/** A sketch that grows and shrinks: the room it takes is that between its lowest and highest bucket. */
export class Sketch {
  #from = 0;
  #counts: number[] = [];
  #total = 0;

  /** Values in it. */
  get total(): number {
    return this.#total;
  }

  add(value: number): void {
    this.addTo(bucketOf(value), 1);
  }

  /** @param count below zero: takes away what was added before */
  addTo(bucket: number, count: number): void {
    this.#total += count;
    const counts = this.#counts;
    if (counts.length === 0) this.#from = bucket;
    while (bucket < this.#from) {
      counts.unshift(0);
      this.#from -= 1;
    }
    const at = bucket - this.#from;
    while (counts.length <= at) counts.push(0);
    counts[at] = (counts[at] ?? 0) + count;
  }

  merge(other: Sketch): void {
    const flat = other.flat();
    for (let at = 0; at < flat.length; at += 2) this.addTo(flat[at] ?? 0, flat[at + 1] ?? 0);
  }

  clear(): void {
    this.#counts = [];
    this.#total = 0;
  }

  /** Each bucket with values in it, by value, followed by how many are. */
  flat(): number[] {
    const flat: number[] = [];
    for (let at = 0; at < this.#counts.length; at += 1) {
      const count = this.#counts[at] ?? 0;
      if (count > 0) flat.push(this.#from + at, count);
    }
    return flat;
  }

  /** The value that the share `q` of all is not above (nearest rank); undefined: it is empty. */
  quantile(q: number): number | undefined {
    if (this.#total <= 0) return undefined;
    const rank = Math.max(1, Math.ceil(q * this.#total));
    let seen = 0;
    let last = 0;
    for (const [at, count] of this.#counts.entries()) {
      if (count <= 0) continue;
      last = this.#from + at;
      seen += count;
      if (seen >= rank) break;
    }
    return bucketValue(last);
  }
}
