import { randomUUID } from 'node:crypto';
import type { Logger } from '../../lib/logger.ts';
import type { Connection } from './connection.ts';
import { unavailable } from './errors.ts';
import type { Keys } from './keys.ts';
import * as scripts from './scripts.ts';

export interface EpochsOptions {
  keys: Keys;
  log: Logger;
  /** The highest store epoch that is known from elsewhere. */
  minEpoch: bigint;
  /** The connection for commits. */
  connection: () => Connection;
  onChange: () => void;
}

/** Far more commits than a replica may lag behind when it is promoted. */
const LEAP = 1_000_000;

/**
 * Which epoch the store is in, and that each namespace is in it too before it is written. An epoch belongs to one run
 * of one server: another run may have lost commits, so that its revisions would be given out a second time.
 */
export class Epochs {
  readonly #options: EpochsOptions;
  /** Highest revision seen by this replica, by namespace: a lower bound for the next ones. */
  readonly #seen = new Map<string, bigint>();
  readonly #adopted = new Map<string, Promise<void>>();
  /** An epoch that must not go on: its server was seen as a replica in between, and may have lost commits. */
  #leave = 0n;
  #current: bigint;
  #runId = '';
  #reopening: Promise<void> | undefined;

  constructor(options: EpochsOptions) {
    this.#options = options;
    this.#current = options.minEpoch;
  }

  get current(): bigint {
    return this.#current;
  }

  /** The run_id of the server that the connections go to. */
  get runId(): string {
    return this.#runId;
  }

  /** The present epoch must not go on, even on the same server. */
  leave(): void {
    this.#leave = this.#current;
  }

  /** Remembers that `revision` was given out. */
  see(namespace: string, revision: bigint): void {
    if (revision > (this.#seen.get(namespace) ?? 0n)) this.#seen.set(namespace, revision);
  }

  /** Makes sure that the namespace is of the present epoch and server. */
  adopt(namespace: string): Promise<void> {
    const known = this.#adopted.get(namespace);
    if (known) return known;
    const adoption = this.#adopt(namespace).catch((error: unknown) => {
      if (this.#adopted.get(namespace) === adoption) this.#adopted.delete(namespace);
      throw error;
    });
    this.#adopted.set(namespace, adoption);
    return adoption;
  }

  /** The namespace was found to be of another epoch than thought. */
  async readopt(namespace: string): Promise<void> {
    this.#adopted.delete(namespace);
    await this.reopen();
    await this.adopt(namespace);
  }

  /** Asks the store for its epoch again, after a hint that it has another one. */
  reopen(): Promise<void> {
    this.#reopening ??= this.agree(this.#options.connection(), this.#runId).finally(() => {
      this.#reopening = undefined;
    });
    return this.#reopening;
  }

  /** Agrees with the other replicas on the epoch of this server. */
  async agree(connection: Connection, runId: string): Promise<void> {
    const { keys, log } = this.#options;
    // Should another server come to the same number by itself, having lost everything, it is not the same epoch.
    if (this.#runId !== '' && this.#runId !== runId) this.leave();
    this.#runId = runId;
    const opened = await scripts.openEpoch(connection, {
      storeKey: keys.store,
      runId,
      seen: this.#current,
      leave: this.#leave,
      channel: keys.newsChannel,
    });
    if (opened.epoch <= this.#current) return;
    log.info({ epoch: opened.epoch.toString(), fresh: opened.fresh }, 'the store is in another epoch');
    this.#current = opened.epoch;
    this.#adopted.clear();
    this.#options.onChange();
  }

  async #adopt(namespace: string): Promise<void> {
    const keys = this.#options.keys.of(namespace);
    for (let attempt = 0; attempt < 20; attempt++) {
      const connection = this.#options.connection();
      const runId = this.#runId;
      const epoch = this.#current;
      const token = randomUUID();
      const found = await scripts.adopt(connection, { metaKey: keys.meta, epoch, runId, token });
      if (epoch !== this.#current) continue;
      if (found === 'ready') return;
      if (found === 'newer') {
        await this.reopen();
        continue;
      }
      if (!(await this.#isCurrent(namespace, epoch, runId))) {
        await this.reopen();
        continue;
      }
      const seen = this.#seen.get(namespace) ?? 0n;
      const done = await scripts.activate(connection, { keys, epoch, runId, token, seen, leap: LEAP });
      if (done === 'ready') return;
    }
    throw unavailable('the store changed its epoch again and again', 'not_applied');
  }

  /** Registers the namespace, and asks whether the epoch is still that of the store. */
  async #isCurrent(namespace: string, epoch: bigint, runId: string): Promise<boolean> {
    const { keys } = this.#options;
    const [added, stored] = await this.#options.connection().send([
      ['sadd', keys.namespaces, namespace],
      ['hmget', keys.store, 'epoch', 'run'],
    ]);
    if (added instanceof Error) throw added;
    if (stored instanceof Error) throw stored;
    const [storedEpoch, storedRun] = scripts.list(stored);
    return scripts.number(storedEpoch) === epoch && scripts.text(storedRun) === runId;
  }
}
