import { Background } from '../../lib/background.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Tree } from './environment.ts';
import type { GroupWriter } from './group-writer.ts';
import type { LiveTable } from './live-table.ts';
import {
  forgetRequests,
  hasExpired,
  isOver,
  type LogBounds,
  trimLogs,
  writeLiveRecords,
} from './maintenance.ts';
import type { Namespaces } from './namespaces.ts';
import { reasonOf } from './preflight.ts';
import type { RecordWriter } from './records.ts';

const LONGEST_INTERVAL_MS = 1_000;
const SHORTEST_INTERVAL_MS = 20;
/** Live records written in one transaction. */
const LIVE_STEP = 2_000;
/** A log may be over its size by this factor before a commit, and not the timer, starts trimming. */
const SLACK = 1.25;

export interface UpkeepOptions {
  tree: () => Tree;
  writer: GroupWriter;
  namespaces: Namespaces;
  live: LiveTable;
  records: RecordWriter;
  bounds: LogBounds;
  liveFlushMs: number;
  clock: Clock;
  log: Logger;
  /** Whether the store takes writes at present. */
  writable: () => boolean;
}

/** The work nobody waits for: trims logs, forgets requests, writes live records; in steps, with commits in between. */
export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #background: Background;
  readonly #timer: NodeJS.Timeout;
  #flushedMs: number;
  #running = false;
  #stopped = false;

  constructor(options: UpkeepOptions) {
    this.#options = options;
    this.#background = new Background({ log: options.log });
    this.#flushedMs = options.clock.monoMs();
    const wanted = Math.min(LONGEST_INTERVAL_MS, options.bounds.logMaxAgeMs / 4, options.liveFlushMs);
    this.#timer = setInterval(() => this.#start(), Math.max(SHORTEST_INTERVAL_MS, wanted)).unref();
  }

  /** Trims early if the log of this namespace grew faster than the timer looks. */
  committed(namespace: string): void {
    const state = this.#options.namespaces.get(namespace);
    if (state && state.headBytes - state.bytesBefore > this.#options.bounds.logMaxBytes * SLACK)
      this.#start();
  }

  /** Ends the work, and writes the live records that were not written yet. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#background.idle();
    try {
      while (this.#options.live.dirty) await this.#flush();
    } catch (error) {
      this.#options.log.warn({ reason: reasonOf(error) }, 'the latest soft records could not be written');
    }
  }

  /** Starts a run, unless one is under way; it goes on as long as there is something to do. */
  #start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#background.run('store upkeep', async () => {
      try {
        while (!this.#stopped && this.#options.writable()) {
          if (!(await this.#step())) return;
        }
      } finally {
        this.#running = false;
      }
    });
  }

  /** Returns whether there was something to do. */
  async #step(): Promise<boolean> {
    const { clock, live, namespaces, bounds, tree, writer } = this.#options;
    const nowMs = clock.wallMs();
    live.sweep(nowMs);
    if (live.dirty && clock.monoMs() - this.#flushedMs >= this.#options.liveFlushMs) {
      await this.#flush();
      if (!live.dirty) this.#flushedMs = clock.monoMs();
      return true;
    }
    const over = [...namespaces.entries()].some(([, state]) => isOver(state, bounds, nowMs));
    if (!over && !hasExpired(tree(), nowMs)) return false;
    await writer.run(0, () => {
      forgetRequests(tree(), nowMs);
      trimLogs(tree(), namespaces, bounds, nowMs);
    });
    return true;
  }

  async #flush(): Promise<void> {
    const { live, writer, tree, records } = this.#options;
    const taken = live.takeDirty(LIVE_STEP);
    try {
      await writer.run(0, () => writeLiveRecords(tree(), records, taken));
    } catch (error) {
      live.giveBack(taken);
      throw error;
    }
  }
}
