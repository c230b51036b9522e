/** Silences shorter than this are no news: an answer is late after 300 ms at the earliest. */
const SHORTEST_MS = 250;
/** Classes of length, half an octave each: 250, 354, 500, 707 ms … 64 s. */
const CLASSES = 17;

export interface SilencesOptions {
  /** At least so many round trips are remembered, and at most twice as many. */
  memory: number;
}

/**
 * How long agents that live have left the oldest unanswered ping unanswered: of so many round trips, how many took how
 * long. A steady agent's cost three numbers; classes are counted from the first long silence on. What is remembered
 * lies in two generations, of which the older one is dropped when the younger is full.
 */
export class Silences {
  readonly #memory: number;
  #young = 0;
  #old = 0;
  #youngCounts: Uint32Array | undefined;
  #oldCounts: Uint32Array | undefined;

  constructor(options: SilencesOptions) {
    this.#memory = options.memory;
  }

  /** Round trips remembered. */
  get total(): number {
    return this.#young + this.#old;
  }

  add(silenceMs: number): void {
    this.#young += 1;
    if (silenceMs >= SHORTEST_MS) {
      this.#youngCounts ??= new Uint32Array(CLASSES);
      const at = classOf(silenceMs);
      this.#youngCounts[at] = (this.#youngCounts[at] ?? 0) + 1;
    }
    if (this.#young < this.#memory) return;
    this.#old = this.#young;
    this.#oldCounts = this.#youngCounts;
    this.#young = 0;
    this.#youngCounts = undefined;
  }

  /** How many were at least about as long as this: those of its class (up to √2 shorter) and all longer ones. */
  atLeast(silenceMs: number): number {
    const from = silenceMs < SHORTEST_MS ? 0 : classOf(silenceMs);
    return sumFrom(this.#youngCounts, from) + sumFrom(this.#oldCounts, from);
  }

  /** The lower end of the longest class with anything in it, milliseconds; 0 if all were short. */
  longestMs(): number {
    const at = Math.max(lastOf(this.#youngCounts), lastOf(this.#oldCounts));
    return at < 0 ? 0 : SHORTEST_MS * 2 ** (at / 2);
  }
}

const classOf = (silenceMs: number): number =>
  Math.min(CLASSES - 1, Math.floor(2 * Math.log2(silenceMs / SHORTEST_MS)));

const lastOf = (counts: Uint32Array | undefined): number => counts?.findLastIndex((count) => count > 0) ?? -1;

function sumFrom(counts: Uint32Array | undefined, from: number): number {
  if (counts === undefined) return 0;
  let sum = 0;
  for (let at = from; at < CLASSES; at += 1) sum += counts[at] ?? 0;
  return sum;
}
