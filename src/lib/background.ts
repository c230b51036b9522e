import type { Logger } from './logger.ts';

/** Runs work that nobody awaits: failures are logged, and close waits for what is under way. */
export class Background {
  readonly #log: Logger;
  readonly #running = new Set<Promise<void>>();

  constructor(options: { log: Logger }) {
    this.#log = options.log;
  }

  /** Starts `work` now. `name` stands in the log if it fails. */
  run(name: string, work: () => Promise<void>): void {
    // Also what throws before its first await must not reach the caller, which may be a timer.
    const task: Promise<void> = (async () => work())()
      .catch((error: unknown) => this.#log.error({ task: name, err: error }, 'background work failed'))
      .finally(() => this.#running.delete(task));
    this.#running.add(task);
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
  }
}
