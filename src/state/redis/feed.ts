import type { Background } from '../../lib/background.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Follower } from '../store.ts';
import type { Keys } from './keys.ts';
import type { Link } from './link.ts';
import { type LiveRecords, parseLiveMessage } from './live.ts';
import { NetstringReader } from './netstrings.ts';
import type { OwnCommits } from './own-commits.ts';
import type { Reader } from './reader.ts';
import { Subscription } from './subscription.ts';

export interface FeedOptions {
  own: OwnCommits;
  link: Link;
  keys: Keys;
  reader: Reader;
  live: LiveRecords;
  log: Logger;
  background: Background;
}

/** Passes what Redis publishes on to this replica's followers. */
export class Feed {
  readonly #options: FeedOptions;
  readonly #subscriptions = new Set<Subscription>();

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  async follow(follower: Follower): Promise<() => void> {
    const { own, link, reader, live, log, background } = this.#options;
    await link.ready();
    // What was published before this call is read before this answer, so it is not told to the new follower.
    await link.feed.call('ping');
    const subscription = new Subscription({ follower, own, link, reader, live, log, background });
    const stop = (): void => {
      subscription.stop();
      this.#subscriptions.delete(subscription);
    };
    this.#subscriptions.add(subscription);
    try {
      await subscription.start();
    } catch (error) {
      stop();
      throw error;
    }
    return stop;
  }

  /** Messages may have been missed, or the epoch changed. */
  resume(): void {
    for (const subscription of this.#subscriptions) {
      this.#options.background.run('catch up with Redis', () => subscription.resume());
    }
  }

  message(channel: string, message: Buffer): void {
    const { keys, log, link, background } = this.#options;
    try {
      if (message.length === 0) {
        background.run('agree on the store epoch', () => link.epochs.reopen());
      } else if (channel === keys.liveChannel) {
        const records = parseLiveMessage(message);
        for (const subscription of this.#subscriptions) subscription.live(records);
      } else {
        const reader = new NetstringReader(message);
        const namespace = reader.text();
        const revision = BigInt(reader.text());
        for (const subscription of this.#subscriptions) subscription.news(namespace, revision);
      }
    } catch (error) {
      log.error({ channel, err: error }, 'a message of Redis could not be read');
    }
  }

  close(): void {
    for (const subscription of this.#subscriptions) subscription.stop();
    this.#subscriptions.clear();
  }
}
