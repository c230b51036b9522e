import { create } from '@bufbuild/protobuf';
import { type Duration, DurationSchema } from '@bufbuild/protobuf/wkt';

/** A protobuf Duration of `ms` milliseconds, to the microsecond. */
export function toDuration(ms: number): Duration {
  const micros = Math.round(ms * 1000);
  const seconds = Math.floor(micros / 1e6);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos: (micros - seconds * 1e6) * 1000 });
}

/** Milliseconds of a protobuf Duration; undefined stays undefined. */
export function toMs(duration: Duration): number;
export function toMs(duration: Duration | undefined): number | undefined;
export function toMs(duration: Duration | undefined): number | undefined {
  return duration && Number(duration.seconds) * 1000 + duration.nanos / 1e6;
}

/** Resolves after `ms`, or at once when the signal fires. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}

/** Resolves with the first of them, or after `ms`. */
export async function withinMs(ms: number, tasks: readonly Promise<unknown>[]): Promise<void> {
  const over = new AbortController();
  await Promise.race([...tasks, sleep(ms, over.signal)]);
  over.abort();
}

/**
 * How long to wait before try number `attempt` (0, 1, 2…): exponential, the upper half of each wait random, so that a
 * fleet whose server restarted does not come back in step ("equal jitter": M. Brooker, "Exponential Backoff And Jitter",
 * AWS 2015). With all of it random, short first waits are used up before the server is back: a few of 3,000 agents then
 * waited up to the cap, 17 to 35 s for a server that was back after two.
 */
export function backoffMs(options: {
  attempt: number;
  baseMs: number;
  capMs: number;
  random: () => number;
}): number {
  const ceiling = Math.min(options.capMs, options.baseMs * 2 ** Math.min(options.attempt, 30));
  return ceiling * (0.5 + options.random() / 2);
}

/** Calls back once nothing was heard for `limitMs`. Hearing costs no timer: the one timer rearms itself when due. */
export class SilenceTimer {
  readonly #onSilent: () => void;
  #limitMs: number;
  #heardAt = performance.now();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: { limitMs: number; onSilent: () => void }) {
    this.#limitMs = options.limitMs;
    this.#onSilent = options.onSilent;
    this.#arm(options.limitMs);
  }

  heard(): void {
    this.#heardAt = performance.now();
  }

  setLimit(limitMs: number): void {
    this.#limitMs = limitMs;
    if (this.#timer !== undefined) this.#arm(this.#remaining());
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #remaining(): number {
    return this.#heardAt + this.#limitMs - performance.now();
  }

  #arm(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#due(), Math.max(1, Math.ceil(ms)));
  }

  #due(): void {
    const left = this.#remaining();
    if (left > 0) {
      this.#arm(left);
      return;
    }
    this.#timer = undefined;
    this.#onSilent();
  }
}
