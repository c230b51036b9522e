import type { Background } from '../../lib/background.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Follower, LiveRecord, Position } from '../store.ts';
import { describeFault } from './errors.ts';
import type { Link } from './link.ts';
import type { LiveRecords } from './live.ts';
import type { OwnCommits } from './own-commits.ts';
import type { Reader } from './reader.ts';
import { readSnapshot } from './snapshot.ts';

export interface SubscriptionOptions {
  follower: Follower;
  own: OwnCommits;
  link: Link;
  reader: Reader;
  live: LiveRecords;
  log: Logger;
  background: Background;
}

/** How far the follower has come in a namespace. */
interface Progress {
  /** Absent: it needs a snapshot. */
  position: Position | undefined;
  /** Catching up, if it is under way; and whether there was news meanwhile. */
  running: Promise<void> | undefined;
  news: boolean;
}

const PAGE = 256;
const RETRY_MS = 200;

/**
 * Keeps one follower current. Messages only say that there is news; what it is comes from the log, after the
 * follower's position. So nothing is lost with a message, and nothing comes twice.
 */
export class Subscription {
  readonly #options: SubscriptionOptions;
  readonly #progress = new Map<string, Progress>();
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Until every namespace had its snapshot: which had news. */
  #early: Set<string> | undefined = new Set();
  #resumeLater = false;
  #stopped = false;

  constructor(options: SubscriptionOptions) {
    this.#options = options;
  }

  /** Delivers a snapshot of every namespace. The caller passes news on from before this begins. */
  async start(): Promise<void> {
    const names = await this.#options.reader.namespaces();
    await Promise.all(names.map((name) => this.#advance(name, this.#begin(name, undefined))));
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const name of early) this.news(name, undefined);
    if (this.#resumeLater) await this.resume();
  }

  /** The namespace has a commit with this revision; undefined: it may have new ones. */
  news(namespace: string, revision: bigint | undefined): void {
    if (this.#early) {
      this.#early.add(namespace);
      return;
    }
    const epoch = this.#options.link.epochs.current;
    const progress = this.#progress.get(namespace) ?? this.#begin(namespace, { epoch, revision: 0n });
    const { position } = progress;
    if (revision !== undefined && position?.epoch === epoch && revision <= position.revision) return;
    this.#run(namespace, progress);
  }

  live(records: readonly LiveRecord[]): void {
    this.#deliver((follower) => follower.live(records));
  }

  /** Catches up with everything: messages were missed, or the epoch changed. */
  async resume(): Promise<void> {
    if (this.#early) {
      this.#resumeLater = true;
      return;
    }
    const { reader, live, link } = this.#options;
    try {
      for (const name of await reader.namespaces()) this.news(name, undefined);
      for (const [name, progress] of this.#progress) this.#run(name, progress);
      for (const name of this.#progress.keys()) {
        const records = await live.scan(name);
        if (records.length > 0) this.live(records);
      }
    } catch (error) {
      // If the connection broke again, this is called again when it is back.
      if (link.usable) this.#later(() => void this.resume());
      this.#options.log.debug({ reason: describeFault(error as Error) }, 'could not resume following');
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #begin(namespace: string, position: Position | undefined): Progress {
    const progress: Progress = { position, running: undefined, news: false };
    this.#progress.set(namespace, progress);
    return progress;
  }

  #run(namespace: string, progress: Progress): void {
    progress.news = true;
    if (progress.running || this.#stopped) return;
    progress.running = this.#catchUp(namespace, progress).finally(() => {
      progress.running = undefined;
      if (progress.news && !this.#stopped) this.#later(() => this.#run(namespace, progress));
    });
    const running = progress.running;
    this.#options.background.run('follow Redis', () => running);
  }

  async #catchUp(namespace: string, progress: Progress): Promise<void> {
    try {
      while (progress.news && !this.#stopped) {
        progress.news = false;
        await this.#advance(namespace, progress);
      }
    } catch (error) {
      // Without a connection there is nothing to try: `resume` comes when it is back.
      if (this.#options.link.usable) progress.news = true;
      this.#options.log.debug({ namespace, reason: describeFault(error as Error) }, 'could not catch up');
    }
  }

  async #advance(namespace: string, progress: Progress): Promise<void> {
    const { reader } = this.#options;
    while (!this.#stopped) {
      if (progress.position === undefined) {
        const { position, entries } = await readSnapshot(reader, namespace);
        progress.position = position;
        this.#deliver((follower) => follower.snapshot(namespace, position, entries));
      }
      const page = await reader.changes(namespace, progress.position, PAGE);
      if (page.kind !== 'page') {
        progress.position = undefined;
        continue;
      }
      for (const read of page.batches) {
        const batch = this.#options.own.recognise(read);
        progress.position = { epoch: batch.epoch, revision: batch.revision };
        this.#deliver((follower) => follower.batch(batch));
      }
      if (page.complete) return;
    }
  }

  #deliver(call: (follower: Follower) => void): void {
    if (this.#stopped) return;
    try {
      call(this.#options.follower);
    } catch (error) {
      this.#options.log.error({ err: error }, 'a follower of the store failed');
    }
  }

  #later(work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#stopped) work();
    }, RETRY_MS);
    timer.unref();
    this.#timers.add(timer);
  }
}
