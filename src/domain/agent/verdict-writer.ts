import { Agent_Liveness, type Verdict } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { AgentRecord } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Background } from '../../lib/background.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Ids } from '../../lib/ids.ts';
import type { Logger } from '../../lib/logger.ts';
import { timestampFromMs } from '../../lib/proto-time.ts';
import {
  type Append,
  type Check,
  type Store,
  StoreFullError,
  StoreUnavailableError,
} from '../../state/store.ts';
import type { Views } from '../../state/views.ts';
import type { Mailboxes } from '../coordination/mailboxes.ts';
import type { EventWriter, NewEvent } from '../monitoring/events.ts';
import { isLeaseKey } from './care/care-records.ts';
import { failureOf, noteFailure } from './care/failures.ts';
import type { Troubles } from './care/troubles.ts';
import type { AgentDirectory, KnownAgent } from './directory.ts';
import type { Judgement } from './judgement.ts';
import { loadAgent } from './load.ts';
import { drainedByLeaving, pendingOrders } from './order-rules.ts';
import { agentIdOf, agentKey, agentOf, copyRecord, encodeRecord, pushVerdict } from './record.ts';

interface Pending extends Judgement {
  events: NewEvent[];
  settled: ((stored: boolean) => void)[];
}

export interface VerdictWriterOptions {
  store: Store;
  views: Views;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  events: EventWriter;
  clock: Clock;
  background: Background;
  ids: Ids;
  log: Logger;
  /** Counts what was judged before it is stored. */
  troubles: Pick<Troubles, 'judged' | 'settled'>;
  /** For how long an agent's failures count. */
  failureWindowMs(record: AgentRecord): number;
}

/** Agents in one commit. */
const CHUNK = 256;
/** Events of one agent that wait for the store; older ones are merged away first. */
const EVENTS_PER_AGENT = 16;
/** Longest pause before the store is tried again. */
const MAX_PAUSE_MS = 1000;
/** Refusals, other than by a store that is away or full, after which a group is halved. */
const TRIES = 3;
/** Pause after such a refusal. */
const REFUSED_PAUSE_MS = 100;
const ROUNDS_WITH_CONFLICTS = 16;
/** From this conflict on the whole batch is read anew: the view lags, and each conflict names one agent only. */
const RELOAD_ALL_ROUND = 2;
/** How long the store remembers a batch: longer than any outage in which its fate is unknown. */
const REMEMBERED_MS = 3_600_000;

/**
 * Writes verdicts in batches: what is judged in one turn of the event loop shares commits. While the store is away
 * they wait, the latest of each agent winning; judging goes on all the same.
 */
export class VerdictWriter {
  readonly #options: VerdictWriterOptions;
  /** By "namespace/id". */
  #pending = new Map<string, Pending>();
  #writing = new Map<string, Pending>();
  #running = false;
  #closed = false;

  constructor(options: VerdictWriterOptions) {
    this.#options = options;
  }

  /** How many verdicts wait to be stored. */
  get size(): number {
    return this.#pending.size + this.#writing.size;
  }

  /** Resolves when the judgement is stored, or was overtaken by a newer session; with false when `close` came first. */
  submit(judgement: Judgement): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false);
    const key = `${judgement.namespace}/${judgement.agentId}`;
    const waiting = this.#pending.get(key);
    if (waiting !== undefined && waiting.epoch > judgement.epoch) return Promise.resolve(true);
    const same = waiting !== undefined && waiting.epoch === judgement.epoch ? waiting : undefined;
    const events = [...(same?.events ?? []), judgement.event].slice(-EVENTS_PER_AGENT);
    const settled = waiting?.settled ?? [];
    const liveness = judgement.liveness ?? same?.liveness;
    const verdict =
      judgement.liveness === undefined && same?.liveness !== undefined ? same.verdict : judgement.verdict;
    const pending: Pending = { ...judgement, verdict, events, settled };
    if (liveness !== undefined) pending.liveness = liveness;
    this.#pending.set(key, pending);
    if (judgement.liveness !== undefined) {
      this.#options.troubles.judged(judgement.namespace, judgement.agentId, judgement.liveness);
    }
    this.#wake();
    return new Promise((resolve) => settled.push(resolve));
  }

  /** The liveness that is judged but not stored yet; reads show it. */
  pendingFor(namespace: string, agentId: string): Judgement | undefined {
    const key = `${namespace}/${agentId}`;
    return this.#pending.get(key) ?? this.#writing.get(key);
  }

  /** All that is judged but not stored yet; of an agent judged again meanwhile, both. */
  *waiting(): IterableIterator<Judgement> {
    yield* this.#writing.values();
    yield* this.#pending.values();
  }

  /** Stops trying; what waits is dropped (agents are judged anew at the next start). */
  close(): void {
    this.#closed = true;
    for (const waiting of [this.#writing, this.#pending]) {
      for (const pending of waiting.values()) for (const resolve of pending.settled.splice(0)) resolve(false);
    }
  }

  #wake(): void {
    if (this.#running) return;
    this.#running = true;
    this.#options.background.run('write verdicts', async () => {
      await new Promise((resolve) => setImmediate(resolve));
      try {
        while (this.#pending.size > 0 && !this.#closed) await this.#round();
      } finally {
        this.#running = false;
      }
    });
  }

  async #round(): Promise<void> {
    const byNamespace = new Map<string, Pending[]>();
    for (const [key, pending] of this.#pending) {
      const group = byNamespace.get(pending.namespace) ?? [];
      byNamespace.set(pending.namespace, group);
      if (group.length >= CHUNK) continue;
      group.push(pending);
      this.#pending.delete(key);
      this.#writing.set(key, pending);
    }
    for (const [namespace, group] of byNamespace) {
      await this.#persist(namespace, group);
      for (const pending of group) {
        const key = `${pending.namespace}/${pending.agentId}`;
        this.#writing.delete(key);
        if (!this.#pending.has(key)) this.#options.troubles.settled(pending.namespace, pending.agentId);
      }
    }
  }

  /**
   * Tries until the group is stored. What is judged meanwhile waits: verdicts are written in their order. A group that
   * the store refuses is halved, until the one that it cannot take is found and dropped: it must not hold up the rest.
   */
  async #persist(namespace: string, group: readonly Pending[]): Promise<void> {
    // One id for all tries: a try whose answer was lost, but which was stored, is not repeated.
    const requestId = `verdicts/${this.#options.ids.uuid()}`;
    const { log } = this.#options;
    for (let refused = 0; !this.#closed; ) {
      try {
        await this.#write(namespace, group, requestId);
        settle(group, true);
        return;
      } catch (error) {
        log.warn({ pending: this.size, err: error }, 'verdicts could not be stored; they wait');
        const away = error instanceof StoreUnavailableError || error instanceof StoreFullError;
        if (!away) refused += 1;
        if (refused === TRIES && group.length === 1) {
          log.error({ agent: group[0]?.agentId, err: error }, 'a verdict cannot be stored; it is dropped');
          settle(group, false);
          return;
        }
        if (refused === TRIES) {
          const half = Math.ceil(group.length / 2);
          await this.#persist(namespace, group.slice(0, half));
          await this.#persist(namespace, group.slice(half));
          return;
        }
        const pauseMs =
          error instanceof StoreUnavailableError
            ? error.retryAfterMs
            : away
              ? MAX_PAUSE_MS
              : REFUSED_PAUSE_MS;
        await new Promise((resolve) => setTimeout(resolve, Math.min(MAX_PAUSE_MS, pauseMs)));
      }
    }
  }

  async #write(namespace: string, judged: readonly Pending[], requestId: string): Promise<void> {
    let group = judged;
    const { store, views } = this.#options;
    const mark = Uint8Array.of(1);
    const request = { id: requestId, fingerprint: mark, response: mark, ttlMs: REMEMBERED_MS };
    const fresh = await this.#loadUnheard(namespace, group);
    // forget_after counts by the store's clock: those of replicas may differ.
    const storeMs = await store.now();
    for (let round = 0; round < ROUNDS_WITH_CONFLICTS; round += 1) {
      const { checks, puts, deletes, appends } = this.#prepare(namespace, group, fresh, storeMs);
      if (appends.length === 0) return;
      const outcome = await store.commit({ namespace, checks, puts, deletes, appends, request });
      if (outcome.kind !== 'conflict') {
        await views.waitFor(namespace, outcome.revision, 1000, AbortSignal.timeout(2000)).catch(() => {});
        return;
      }
      if (isLeaseKey(outcome.key)) {
        // Judged for a replica that is gone, by one that was replaced in that: whoever holds the lease judges now.
        group = group.filter(({ fence }) => fence?.key !== outcome.key);
        continue;
      }
      const stale = round < RELOAD_ALL_ROUND ? [agentIdOf(outcome.key)] : group.map(({ agentId }) => agentId);
      const load = async (id: string) => fresh.set(id, await loadAgent(this.#options.store, namespace, id));
      await Promise.all(stale.map(load));
    }
    throw new Error(`${group.length} agents were changed concurrently again and again`);
  }

  /** Records of sessions that this replica has attached but not yet heard of: its view lags behind the store. */
  async #loadUnheard(
    namespace: string,
    group: readonly Pending[],
  ): Promise<Map<string, KnownAgent | undefined>> {
    const fresh = new Map<string, KnownAgent | undefined>();
    for (const { agentId, epoch } of group) {
      const known = this.#options.directory.get(namespace, agentId);
      if (known === undefined || known.record.sessionEpoch < epoch) {
        fresh.set(agentId, await loadAgent(this.#options.store, namespace, agentId));
      }
    }
    return fresh;
  }

  #prepare(
    namespace: string,
    group: readonly Pending[],
    fresh: ReadonlyMap<string, KnownAgent | undefined>,
    storeMs: number,
  ) {
    const checks: Check[] = [];
    const puts: { key: string; value: Uint8Array }[] = [];
    const deletes: string[] = [];
    const appends: Append[] = [];
    for (const pending of group) {
      const known = fresh.has(pending.agentId)
        ? fresh.get(pending.agentId)
        : this.#options.directory.get(namespace, pending.agentId);
      if (known === undefined || known.record.sessionEpoch !== pending.epoch) continue;
      if (pending.liveness !== undefined) {
        const stored = agentOf(known.record);
        // An earlier try whose answer was lost had been stored after all.
        if (stored.verdict === pending.verdict || sameVerdict(stored.verdict, pending.verdict)) continue;
        checks.push({ key: agentKey(pending.agentId), revision: known.revision });
        const { fence } = pending;
        if (fence !== undefined && !checks.some(({ key }) => key === fence.key)) checks.push(fence);
        const judged = this.#judged(known, pending, storeMs);
        if (pending.liveness === Agent_Liveness.LEFT) {
          const drained = drainedByLeaving(agentOf(judged), storeMs);
          if (drained !== undefined) appends.push(this.#options.events.append(drained));
          // Nobody is left to follow them.
          deletes.push(...pendingOrders(this.#options.mailboxes, known));
        }
        puts.push({ key: agentKey(pending.agentId), value: encodeRecord(judged) });
      }
      for (const event of pending.events) appends.push(this.#options.events.append(event));
    }
    return { checks, puts, deletes, appends };
  }

  #judged(known: KnownAgent, pending: Pending, storeMs: number) {
    const record = copyRecord(known.record);
    const agent = agentOf(record);
    const now = timestampFromMs(this.#options.clock.wallMs());
    if (pending.liveness !== undefined) agent.liveness = pending.liveness;
    agent.updateTime = now;
    if (pending.liveness === Agent_Liveness.LOST || pending.liveness === Agent_Liveness.LEFT)
      record.goneTime = timestampFromMs(storeMs);
    const failure =
      pending.liveness === undefined || pending.blameless === true
        ? undefined
        : failureOf(pending.liveness, pending.verdict);
    if (failure !== undefined) {
      noteFailure(record, failure, storeMs, this.#options.failureWindowMs(record));
    }
    pushVerdict(record, pending.verdict);
    return record;
  }
}

function settle(group: readonly Pending[], stored: boolean): void {
  for (const pending of group) for (const resolve of pending.settled) resolve(stored);
}

function sameVerdict(a: Verdict | undefined, b: Verdict): boolean {
  return (
    a !== undefined &&
    a.epoch === b.epoch &&
    a.rule === b.rule &&
    a.time?.seconds === b.time?.seconds &&
    a.time?.nanos === b.time?.nanos
  );
}
