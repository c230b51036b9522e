import { StoreUnavailableError } from '../../../state/store.ts';
import { isLeaseKey } from '../../agent/care/care-records.ts';
import { catchUp } from './catch-up.ts';
import type { Grant } from './grants.ts';
import type { SchedulerPorts } from './scheduler-ports.ts';

export interface GrantStoreOptions
  extends Pick<SchedulerPorts, 'store' | 'merged' | 'views' | 'background' | 'log' | 'refused'> {
  namespace: string;
}

/** How long the view may take to show what was committed. */
const VIEW_MS = 2000;
/** Pause after the store refused, or was away. */
const PAUSE_MS = 200;

/** Stores grants, and remembers what is under way: it does not wait, whatever the view still shows. */
export class GrantStore {
  readonly #options: GrantStoreOptions;
  readonly #underway = new Map<string, Grant>();
  #closed = false;

  constructor(options: GrantStoreOptions) {
    this.#options = options;
  }

  close(): void {
    this.#closed = true;
  }

  isUnderway(key: string): boolean {
    return this.#underway.has(key);
  }

  /** What was under way is seen now, or something else became of it. */
  over(key: string): void {
    this.#underway.delete(key);
  }

  /** @param again called if it was not stored, when it is known what there is instead */
  store(key: string, grant: Grant, again: () => void): void {
    const { merged, views, background, log, namespace } = this.#options;
    this.#underway.set(key, grant);
    background.run('place work', async () => {
      let pauseMs = 0;
      try {
        const outcome = await merged.commit(namespace, () => grant.part);
        await views.waitFor(namespace, outcome.revision, VIEW_MS).catch(() => {});
        if (outcome.kind === 'committed') {
          grant.stored?.();
          this.#end(key, grant);
          return;
        }
        this.refused(outcome.key);
      } catch (error) {
        pauseMs = PAUSE_MS;
        if (!(error instanceof StoreUnavailableError)) {
          log.warn({ namespace, err: error }, 'a placement could not be stored');
        } else if (error.outcome === 'unknown' && !(await this.#catchUp())) return;
      }
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
      this.#end(key, grant);
      grant.undo();
      if (!this.#closed) again();
    });
  }

  /** A commit was refused because of a key. */
  refused(key: string): void {
    if (isLeaseKey(key)) this.#options.refused(this.#options.namespace);
  }

  /** A commit with a grant failed: what it reserves in memory stays so until it is known whether it was stored. */
  failed(grant: Grant, error: unknown): void {
    if (!(error instanceof StoreUnavailableError) || error.outcome !== 'unknown') {
      grant.undo();
      return;
    }
    this.#options.background.run('find out about a placement', async () => {
      if (await this.#catchUp()) grant.undo();
    });
  }

  #end(key: string, grant: Grant): void {
    if (this.#underway.get(key) === grant) this.#underway.delete(key);
  }

  #catchUp(): Promise<boolean> {
    return catchUp(this.#options, () => this.#closed);
  }
}
