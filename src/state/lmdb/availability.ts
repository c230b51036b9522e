import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Environment } from './environment.ts';
import type { Followers } from './followers.ts';
import type { Failed } from './group-writer.ts';
import type { Namespaces } from './namespaces.ts';
import { readChanges } from './reads.ts';
import { errorsOf, explain, recover } from './recovery.ts';

export interface AvailabilityOptions {
  environment: Environment;
  namespaces: Namespaces;
  followers: Followers;
  clock: Clock;
  log: Logger;
}

/** Whether the store takes writes, and what is done when it does not. */
export class Availability {
  readonly #options: AvailabilityOptions;
  readonly #closing = new AbortController();
  #trouble: string | undefined;
  #sinceMs: number;

  constructor(options: AvailabilityOptions) {
    this.#options = options;
    this.#sinceMs = options.clock.wallMs();
  }

  /** What is wrong; undefined if nothing is. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Wall clock of the last change. */
  get sinceMs(): number {
    return this.#sinceMs;
  }

  /** From now on the store is closed; a recovery under way ends. */
  close(): void {
    this.#set('the store is closed');
    this.#closing.abort();
  }

  /** A write failed: says what callers get, and begins to recover. */
  async failed(error: unknown): Promise<Failed> {
    const { environment, namespaces, log } = this.#options;
    const failure = await explain(error, environment.path);
    namespaces.discard();
    if (!this.#closing.signal.aborted) this.#set(failure.detail);
    log.error({ reason: failure.detail }, 'the store takes no writes');
    const recovered = recover({
      environment,
      log,
      onReopened: () => this.#catchUp(),
      signal: this.#closing.signal,
    }).then(() => {
      if (this.#closing.signal.aborted) return;
      this.#set(undefined);
      log.info({}, 'the store takes writes again');
    });
    return { ...errorsOf(failure, error), recovered };
  }

  /** Followers hear of what was stored although its commit was reported as unknown. */
  #catchUp(): void {
    const { environment, namespaces, followers } = this.#options;
    const { tree, epoch } = environment;
    const before = new Map(namespaces.entries());
    namespaces.load(tree);
    for (const [namespace, { id, head }] of namespaces.entries()) {
      let revision = before.get(namespace)?.head ?? 0n;
      while (revision < head) {
        const page = readChanges(tree, { namespace, id, epoch }, { epoch, revision }, 1_000);
        if (page.kind !== 'page') break;
        for (const batch of page.batches) followers.batch(batch);
        revision = page.batches.at(-1)?.revision ?? head;
      }
    }
  }

  #set(trouble: string | undefined): void {
    this.#trouble = trouble;
    this.#sinceMs = this.#options.clock.wallMs();
  }
}
