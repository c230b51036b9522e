import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { HistoryConfig } from '../../../config/monitoring-config.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/logger.ts';
import type { Store } from '../../../state/store.ts';
import { readKey, SPAN_MS, type Tier } from './chunks.ts';
import { readSubjects } from './read-chunks.ts';

export interface TrimmerOptions {
  store: Store;
  config: HistoryConfig;
  clock: Clock;
  log: Logger;
}

/** Subjects looked at, and chunks of each removed, in one call. */
const SUBJECTS = 500;
const CHUNKS = 256;
/** The store's clock going so much faster than ours was set: what it says is doubted for a while. */
const JUMP_MS = 10 * 60_000;
const DOUBT_MS = 3_600_000;

const { FLEET, ZONE, AGENT, REPLICA, SERVICE } = MetricScope;

interface Place {
  tier: Tier;
  scope: MetricScope;
  keepMs: number;
}

/** Removes history that is older than it is kept, a bounded part in each call. */
export class Trimmer {
  readonly #options: TrimmerOptions;
  readonly #places: readonly Place[];
  /** Where each namespace goes on. */
  readonly #at = new Map<string, { place: number; after: string }>();
  #seen: { storeMs: number; monoMs: number } | undefined;
  #doubtUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: TrimmerOptions) {
    this.#options = options;
    const { config } = options;
    const many = [FLEET, ZONE, REPLICA, SERVICE];
    this.#places = [
      ...many.map((scope): Place => ({ tier: 'raw', scope, keepMs: config.rawMs })),
      ...many.map((scope): Place => ({ tier: 'minutes', scope, keepMs: config.minutesMs })),
      ...many.map((scope): Place => ({ tier: 'hours', scope, keepMs: config.hoursMs })),
      { tier: 'minutes', scope: AGENT, keepMs: config.agentsMs },
    ];
  }

  /** Of one namespace; returns how many chunks were removed. @throws StoreUnavailableError */
  async run(namespace: string, nowMs: number): Promise<number> {
    if (this.#isInDoubt(nowMs)) return 0;
    const { store } = this.#options;
    const at = this.#at.get(namespace) ?? { place: 0, after: '' };
    this.#at.set(namespace, at);
    let left = SUBJECTS;
    let removed = 0;
    for (let turns = 0; turns < this.#places.length; turns += 1) {
      const place = this.#places[at.place];
      if (place === undefined) break;
      const { tier, scope, keepMs } = place;
      const beforeMs = nowMs - keepMs - SPAN_MS[tier];
      for await (const { prefix, oldestMs } of readSubjects(store, namespace, tier, scope, at.after)) {
        at.after = prefix;
        left -= 1;
        if (oldestMs < beforeMs) removed += await this.#remove(namespace, prefix, beforeMs);
        if (left <= 0) return removed;
      }
      at.after = '';
      at.place = (at.place + 1) % this.#places.length;
    }
    return removed;
  }

  async #remove(namespace: string, prefix: string, beforeMs: number): Promise<number> {
    const { store } = this.#options;
    const { entries } = await store.scan(namespace, { prefix, limit: CHUNKS });
    const deletes: string[] = [];
    for (const { key } of entries) {
      if ((readKey(key)?.startMs ?? beforeMs) < beforeMs) deletes.push(key);
    }
    if (deletes.length > 0) await store.commit({ namespace, deletes });
    return deletes.length;
  }

  /** Nothing is removed because of a clock that was set to a wrong time. */
  #isInDoubt(storeMs: number): boolean {
    const monoMs = this.#options.clock.monoMs();
    const seen = this.#seen;
    this.#seen = { storeMs, monoMs };
    const jumpedMs = seen === undefined ? 0 : storeMs - seen.storeMs - (monoMs - seen.monoMs);
    if (jumpedMs > JUMP_MS) {
      this.#doubtUntilMs = monoMs + DOUBT_MS;
      this.#options.log.warn(
        { jumped_ms: Math.round(jumpedMs) },
        "the store's clock jumped: no history is removed for an hour",
      );
    }
    return monoMs < this.#doubtUntilMs;
  }
}
