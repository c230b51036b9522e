import { signal } from '@preact/signals';
import type { Event } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { timeMs } from '../lib/time.ts';

const MOST = 1_000;
/** Thousands may come in a second: they are shown a few times in it. */
const GATHER_MS = 200;

/** Events as the stream brings them: newest first, each once, at most 1,000. */
export class EventFeed {
  readonly events = signal<readonly Event[]>([]);
  /** Whether those that went before are all there. */
  readonly synced = signal(false);
  #gathered: Event[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #anew = false;

  /** What comes next is of another filter: it takes the place of what was there. */
  restart(): void {
    this.#anew = true;
    this.#gathered = [];
    this.synced.value = false;
  }

  /** The stream begins again; what comes may be known already. */
  begin(): void {
    this.synced.value = false;
  }

  take(fresh: readonly Event[], synced: boolean): void {
    this.#gathered.push(...fresh);
    // More than can be shown need not be kept until then.
    if (this.#gathered.length > 2 * MOST) this.#gathered = this.#gathered.slice(-MOST);
    if (synced && !this.synced.value) {
      this.#flush();
      this.synced.value = true;
    } else this.#timer ??= setTimeout(() => this.#flush(), GATHER_MS);
  }

  clear(): void {
    this.restart();
    this.events.value = [];
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const before = this.#anew ? [] : this.events.peek();
    this.#anew = false;
    const known = new Set(before.map(({ id }) => id));
    const added = this.#gathered.filter(({ id }) => !known.has(id)).reverse();
    this.#gathered = [];
    if (added.length === 0 && before === this.events.peek()) return;
    const [newest] = before;
    const oldest = added.at(-1);
    const all = [...added, ...before];
    // After a reconnection, what was missed may stand between what is known.
    if (newest !== undefined && oldest !== undefined && at(oldest) < at(newest))
      all.sort((a, b) => at(b) - at(a));
    this.events.value = all.slice(0, MOST);
  }
}

const at = ({ time }: Event): number => timeMs(time) ?? 0;
