import type { Clock } from '../lib/clock.ts';
import { type Usage, UsageMeter } from './usage.ts';

const firstMs = 1_000;
const everyMs = 5_000;
/** A reading that is older is not told: it would look like news. */
const oldMs = 15_000;

/** Reads what a run's processes use from time to time. */
export class Sampler {
  readonly #clock: Clock;
  #meter: UsageMeter | undefined;
  #timer: NodeJS.Timeout | undefined;
  #reading: { usage: Usage; atMs: number } | undefined;

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  /** The run's process from now on; undefined: nothing runs. */
  follow(pid: number | undefined): void {
    clearTimeout(this.#timer);
    this.#reading = undefined;
    this.#meter = pid === undefined ? undefined : new UsageMeter({ root: pid, clock: this.#clock });
    if (this.#meter !== undefined) this.#plan(this.#meter, firstMs);
  }

  /** The last reading, unless it is old. */
  usage(): Usage | undefined {
    const reading = this.#reading;
    return reading !== undefined && this.#clock.monoMs() - reading.atMs <= oldMs ? reading.usage : undefined;
  }

  /** The next reading is planned when one is done, so that a slow one never meets another. */
  #plan(meter: UsageMeter, inMs: number): void {
    this.#timer = setTimeout(() => {
      void meter
        .read()
        .catch(() => undefined)
        .then((usage) => {
          if (this.#meter !== meter) return;
          this.#reading = usage === undefined ? undefined : { usage, atMs: this.#clock.monoMs() };
          this.#plan(meter, everyMs);
        });
    }, inMs);
  }
}
