import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../lib/errors.ts';
import type { ChangeBatch, Entry, LiveRecord, Position, Store } from './store.ts';

/** Something kept in memory that follows the store. Calls come in the order of each namespace. */
export interface View {
  reset(namespace: string, position: Position, entries: readonly Entry[]): void;
  apply(batch: ChangeBatch): void;
  live?(records: readonly LiveRecord[]): void;
}

/** A watcher's ear: what happened after it began to listen. */
interface Listener {
  batch(batch: ChangeBatch): void;
  /** The namespace was replaced as a whole: positions before it mean nothing any more. */
  reset(position: Position): void;
}

interface Waiter {
  revision: bigint;
  wake: () => void;
}

export interface ViewsOptions {
  store: Store;
  views: readonly View[];
  /** Batches that a watcher may be behind before it is cut off. */
  watchBuffer: number;
}

const PAGE = 256;

/**
 * Feeds the change log to the views of this replica, and lets watchers follow it from any position: missed commits
 * are read from the store's log, later ones come from memory, with neither gap nor repetition in between.
 */
export class Views {
  readonly #options: ViewsOptions;
  readonly #views: View[];
  readonly #positions = new Map<string, Position>();
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #waiters = new Map<string, Set<Waiter>>();
  #stop: (() => void) | undefined;

  constructor(options: ViewsOptions) {
    this.#options = options;
    this.#views = [...options.views];
  }

  /** Before `start`: one more view, after all others. */
  add(view: View): void {
    this.#views.push(view);
  }

  /** Loads every namespace; afterwards the views are current and stay so. */
  async start(): Promise<void> {
    this.#stop = await this.#options.store.follow({
      batch: (batch) => this.#apply(batch),
      snapshot: (namespace, position, entries) => this.#reset(namespace, position, entries),
      live: (records) => {
        for (const view of this.#views) view.live?.(records);
      },
    });
  }

  stop(): void {
    this.#stop?.();
    this.#stop = undefined;
  }

  /** Up to where this replica has seen the namespace. */
  position(namespace: string): Position {
    return this.#positions.get(namespace) ?? { epoch: this.#options.store.status().epoch, revision: 0n };
  }

  /** Resolves once `revision` was seen here. Throws REVISION_NOT_SEEN after `timeoutMs` or when the caller leaves. */
  async waitFor(namespace: string, revision: bigint, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    if (this.position(namespace).revision >= revision) return;
    await new Promise<void>((resolve, reject) => {
      const waiters = getOrAdd(this.#waiters, namespace, () => new Set<Waiter>());
      const end = (error?: Error): void => {
        waiters.delete(waiter);
        // Callers name namespaces as they like: nothing stays of one that nobody waits for.
        if (waiters.size === 0 && this.#waiters.get(namespace) === waiters) this.#waiters.delete(namespace);
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        if (error === undefined) resolve();
        else reject(error);
      };
      const late = (): DomainError =>
        new DomainError({
          reason: ErrorReason.REVISION_NOT_SEEN,
          message: `this replica has seen revision ${this.position(namespace).revision}, not yet ${revision}`,
          retryAfterMs: 200,
        });
      const abort = (): void => end(late());
      const waiter: Waiter = { revision, wake: () => end() };
      const timer = setTimeout(abort, timeoutMs);
      signal?.addEventListener('abort', abort, { once: true });
      waiters.add(waiter);
      if (signal?.aborted === true) abort();
    });
  }

  /**
   * Yields the commits after `after`, then each new one, until `signal` fires. "synced" comes once, when everything
   * that had been missed is delivered; from then on "tick" comes every `tickMs`.
   * @throws DomainError CURSOR_COMPACTED, CURSOR_EPOCH, SLOW_CONSUMER
   */
  async *follow(
    namespace: string,
    after: Position,
    signal: AbortSignal,
    tickMs: number,
  ): AsyncGenerator<ChangeBatch | 'synced' | 'tick', void, undefined> {
    const queue: ChangeBatch[] = [];
    let failure: DomainError | undefined;
    let wake: (() => void) | undefined;
    const listener: Listener = {
      batch: (batch) => {
        if (failure !== undefined) return;
        if (queue.length >= this.#options.watchBuffer) {
          failure = slowConsumer(this.#options.watchBuffer);
          queue.length = 0;
        } else {
          queue.push(batch);
        }
        wake?.();
      },
      reset: (position) => {
        failure ??= wrongEpoch(position.epoch);
        wake?.();
      },
    };
    let ticked = false;
    const ticker = setInterval(() => {
      ticked = true;
      wake?.();
    }, tickMs);
    const abort = (): void => wake?.();
    const listeners = getOrAdd(this.#listeners, namespace, () => new Set<Listener>());
    listeners.add(listener);
    signal.addEventListener('abort', abort, { once: true });
    try {
      let seen = after.revision;
      for await (const batch of this.#missed(namespace, after)) {
        if (signal.aborted) return;
        seen = batch.revision;
        yield batch;
      }
      yield 'synced';
      while (!signal.aborted) {
        const batch = queue.shift();
        if (batch !== undefined) {
          if (batch.revision > seen) {
            seen = batch.revision;
            yield batch;
          }
          continue;
        }
        if (failure !== undefined) throw failure;
        if (ticked) {
          ticked = false;
          yield 'tick';
          continue;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        wake = undefined;
      }
    } finally {
      clearInterval(ticker);
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(namespace);
      signal.removeEventListener('abort', abort);
    }
  }

  async *#missed(namespace: string, after: Position): AsyncGenerator<ChangeBatch, void, undefined> {
    let position = after;
    for (;;) {
      const page = await this.#options.store.changes(namespace, position, PAGE);
      if (page.kind === 'epoch') throw wrongEpoch(page.epoch);
      if (page.kind === 'compacted') {
        throw new DomainError({
          reason: ErrorReason.CURSOR_COMPACTED,
          message: `the cursor is older than the change log, which begins at revision ${page.oldest}; list again`,
        });
      }
      yield* page.batches;
      const last = page.batches.at(-1);
      if (page.complete || last === undefined) return;
      position = { epoch: last.epoch, revision: last.revision };
    }
  }

  #apply(batch: ChangeBatch): void {
    for (const view of this.#views) view.apply(batch);
    this.#moveTo(batch.namespace, { epoch: batch.epoch, revision: batch.revision });
    for (const listener of this.#listeners.get(batch.namespace) ?? []) listener.batch(batch);
  }

  #reset(namespace: string, position: Position, entries: readonly Entry[]): void {
    for (const view of this.#views) view.reset(namespace, position, entries);
    this.#moveTo(namespace, position);
    // Also where the namespace was unknown here: its commits so far were not passed on one by one.
    for (const listener of this.#listeners.get(namespace) ?? []) listener.reset(position);
  }

  #moveTo(namespace: string, position: Position): void {
    this.#positions.set(namespace, position);
    for (const waiter of this.#waiters.get(namespace) ?? []) {
      if (waiter.revision <= position.revision) waiter.wake();
    }
  }
}

function wrongEpoch(epoch: bigint): DomainError {
  return new DomainError({
    reason: ErrorReason.CURSOR_EPOCH,
    message: `the cursor is of another store epoch than the present one, ${epoch}; list again`,
  });
}

function slowConsumer(buffer: number): DomainError {
  return new DomainError({
    reason: ErrorReason.SLOW_CONSUMER,
    message: `the watcher is more than ${buffer} commits behind; resume from its last cursor`,
    retryAfterMs: 1000,
  });
}

function getOrAdd<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const found = map.get(key);
  if (found !== undefined) return found;
  const made = make();
  map.set(key, made);
  return made;
}
