import { StoreUnavailableError } from '../store.ts';
import type { Tree } from './environment.ts';

/** Work of one transaction: many jobs share it, and its sync. */
const GROUP_JOBS = 1_000;
const GROUP_BYTES = 8 << 20;
/** What may wait for the disk. */
const QUEUE_JOBS = 10_000;
const QUEUE_BYTES = 64 << 20;

interface Job {
  bytes: number;
  apply: () => void;
  settle: () => void;
  fail: (error: Error) => void;
}

/** What callers get when a group failed. */
export interface Failed {
  /** For the jobs of the group. */
  tried: Error;
  /** For those that wait, or come before the store has recovered. */
  waiting: Error;
  recovered: Promise<void>;
}

export interface GroupWriterOptions {
  tree: () => Tree;
  /** Called when a group is stored, before any of its promises resolves. */
  onStored: () => void;
  /** Called between the sync of a group and its acknowledgement; a rejection counts as a failed write. */
  onSync: (() => Promise<void>) | undefined;
  /** A group failed; nothing may be written until `recovered` resolves. */
  onFailure: (error: unknown) => Promise<Failed>;
}

/**
 * Runs jobs in order, as many as are waiting in one transaction. Jobs that come while one is being synced wait for the
 * next, so the more there are, the more share a sync.
 */
export class GroupWriter {
  readonly #options: GroupWriterOptions;
  #queue: Job[] = [];
  #queuedBytes = 0;
  #loop: Promise<void> | undefined;
  #refusal: Error | undefined;

  constructor(options: GroupWriterOptions) {
    this.#options = options;
  }

  /**
   * Runs `apply` in a write transaction and resolves with its result once that is on the disk. `settled` is called
   * before, in the order of the jobs. `bytes` is about how much is written.
   */
  run<T>(bytes: number, apply: () => T, settled?: (result: T) => void): Promise<T> {
    if (this.#refusal) return Promise.reject(this.#refusal);
    if (
      this.#queue.length >= QUEUE_JOBS ||
      (this.#queuedBytes + bytes > QUEUE_BYTES && this.#queue.length > 0)
    ) {
      return Promise.reject(
        new StoreUnavailableError({
          message: 'too many writes are waiting for the disk',
          outcome: 'not_applied',
          retryAfterMs: 200,
        }),
      );
    }
    return new Promise<T>((resolve, reject) => {
      let result: T;
      this.#queuedBytes += bytes;
      this.#queue.push({
        bytes,
        apply: () => {
          result = apply();
        },
        settle: () => {
          settled?.(result);
          resolve(result);
        },
        fail: reject,
      });
      this.#loop ??= this.#work();
    });
  }

  /** Resolves when nothing is waiting or under way. */
  async idle(): Promise<void> {
    while (this.#loop) await this.#loop;
  }

  async #work(): Promise<void> {
    while (this.#queue.length > 0) {
      // Taken within the transaction: what is queued until LMDB's thread has the lock still comes along.
      let group: Job[] = [];
      try {
        await this.#options.tree().childTransaction(() => {
          group = this.#take();
          for (const job of group) job.apply();
        });
        await this.#options.onSync?.();
      } catch (error) {
        await this.#fail(group, error);
        continue;
      }
      this.#options.onStored();
      for (const job of group) job.settle();
    }
    this.#loop = undefined;
  }

  #take(): Job[] {
    let jobs = 0;
    let bytes = 0;
    while (jobs < this.#queue.length && jobs < GROUP_JOBS && (bytes < GROUP_BYTES || jobs === 0)) {
      bytes += this.#queue[jobs]?.bytes ?? 0;
      jobs++;
    }
    this.#queuedBytes -= bytes;
    return this.#queue.splice(0, jobs);
  }

  async #fail(group: Job[], error: unknown): Promise<void> {
    const { tried, waiting, recovered } = await this.#options.onFailure(error);
    for (const job of group) job.fail(tried);
    this.#refusal = waiting;
    this.#queuedBytes = 0;
    for (const job of this.#queue.splice(0)) job.fail(waiting);
    await recovered;
    this.#refusal = undefined;
  }
}
