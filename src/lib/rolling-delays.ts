/** What is needed of `perf_hooks.monitorEventLoopDelay`; nanoseconds, each sample with the resolution in it. */
export interface DelayHistogram {
  readonly count: number;
  readonly max: number;
  percentile(percentile: number): number;
  reset(): void;
}

/** Largest samples kept of each window: enough for the p99 of all windows together, see `p99Ms`. */
const TOP = 8;

interface Window {
  count: number;
  /** Milliseconds, largest first, at most TOP. */
  top: number[];
}

/**
 * Event-loop delays over the last windows. A histogram cannot forget its oldest samples, so it is emptied once a
 * window, of which only the count and the largest samples are kept.
 */
export class RollingDelays {
  readonly #histogram: DelayHistogram;
  readonly #resolutionMs: number;
  readonly #capacity: number;
  #windows: Window[] = [];
  #noted: number[] = [];
  #maxMs = 0;

  constructor(options: { histogram: DelayHistogram; resolutionMs: number; windows: number }) {
    this.#histogram = options.histogram;
    this.#resolutionMs = options.resolutionMs;
    this.#capacity = options.windows;
  }

  /** A delay seen otherwise: the histogram misses the one that spans its emptying. */
  note(delayMs: number): void {
    this.#noted.push(delayMs);
  }

  /** Closes the window; call it once a second or so. */
  roll(): void {
    this.#windows.push(this.#current());
    if (this.#windows.length > this.#capacity) this.#windows.shift();
    this.#maxMs = Math.max(0, ...this.#windows.map(({ top }) => top[0] ?? 0));
    this.#histogram.reset();
    this.#noted = [];
  }

  /** The longest delay of the windows and of the one under way. */
  maxMs(): number {
    return Math.max(this.#maxMs, this.#nativeMs(this.#histogram.max), ...this.#noted);
  }

  /** Exact while a hundredth of all samples is not more than TOP: 500 samples in ten seconds at 20 ms need five. */
  p99Ms(): number {
    const windows = [...this.#windows, this.#current()];
    const total = windows.reduce((sum, { count }) => sum + count, 0);
    const largest = windows.flatMap(({ top }) => top).sort((a, b) => b - a);
    return largest[Math.floor(total * 0.01)] ?? 0;
  }

  #current(): Window {
    const { count } = this.#histogram;
    const samples = [...this.#noted];
    for (let rank = 0; rank < Math.min(TOP, count); rank += 1) {
      samples.push(this.#nativeMs(this.#histogram.percentile(100 * (1 - rank / count))));
    }
    return { count: count + this.#noted.length, top: samples.sort((a, b) => b - a).slice(0, TOP) };
  }

  #nativeMs(nanoseconds: number): number {
    return Math.max(0, nanoseconds / 1e6 - this.#resolutionMs);
  }
}
