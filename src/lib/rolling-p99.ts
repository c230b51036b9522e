import type { Clock } from './clock.ts';

const WINDOWS = 10;
const WINDOW_MS = 1000;
/** Samples kept of one second; a uniform thinning of more would not change the percentile much. */
const MAX_SAMPLES = 512;

/** The 99th percentile of what was measured in the last ten seconds. */
export class RollingP99 {
  readonly #clock: Clock;
  readonly #windows: { second: number; samples: number[]; seen: number }[] = [];

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  add(value: number): void {
    const second = Math.floor(this.#clock.monoMs() / WINDOW_MS);
    let window = this.#windows.at(-1);
    if (window === undefined || window.second !== second) {
      window = { second, samples: [], seen: 0 };
      this.#windows.push(window);
      if (this.#windows.length > WINDOWS) this.#windows.shift();
    }
    // Reservoir-like: later samples replace earlier ones in turn, so that a burst's end counts too.
    window.samples[window.seen % MAX_SAMPLES] = value;
    window.seen += 1;
  }

  /** Undefined if nothing was measured. */
  value(): number | undefined {
    const oldest = Math.floor(this.#clock.monoMs() / WINDOW_MS) - WINDOWS;
    const samples = this.#windows.filter(({ second }) => second > oldest).flatMap((window) => window.samples);
    if (samples.length === 0) return undefined;
    samples.sort((a, b) => a - b);
    return samples[Math.ceil(samples.length * 0.99) - 1];
  }
}
