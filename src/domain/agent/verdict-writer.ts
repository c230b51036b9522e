import { Agent_Liveness, type Verdict } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Background } from '../../lib/background.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import { timestampFromMs } from '../../lib/proto-time.ts';
import { type Append, type Check, type Store, StoreUnavailableError } from '../../state/store.ts';
import type { Views } from '../../state/views.ts';
import type { EventWriter, NewEvent } from '../monitoring/events.ts';
import type { AgentDirectory, KnownAgent } from './directory.ts';
import {
  agentIdOf,
  agentKey,
  agentOf,
  copyRecord,
  decodeRecord,
  encodeRecord,
  pushVerdict,
} from './record.ts';

/** A judgement that is to be stored. Without liveness it is an event alone. */
export interface Judgement {
  namespace: string;
  agentId: string;
  /** The session judged; dropped if a newer one has attached meanwhile. */
  epoch: bigint;
  liveness?: Agent_Liveness;
  verdict: Verdict;
  event: NewEvent;
}

interface Pending extends Judgement {
  events: NewEvent[];
  settled: (() => void)[];
}

export interface VerdictWriterOptions {
  store: Store;
  views: Views;
  directory: AgentDirectory;
  events: EventWriter;
  clock: Clock;
  background: Background;
  log: Logger;
}

/** Agents in one commit. */
const CHUNK = 256;
/** Events of one agent that wait for the store; older ones are merged away first. */
const EVENTS_PER_AGENT = 16;
/** Longest pause before the store is tried again. */
const MAX_PAUSE_MS = 1000;
const ROUNDS_WITH_CONFLICTS = 64;

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

  /** Resolves when the judgement is stored, or was overtaken by a newer session. */
  submit(judgement: Judgement): Promise<void> {
    const key = `${judgement.namespace}/${judgement.agentId}`;
    const waiting = this.#pending.get(key);
    const same = waiting !== undefined && waiting.epoch === judgement.epoch ? waiting : undefined;
    const events = [...(same?.events ?? []), judgement.event].slice(-EVENTS_PER_AGENT);
    const settled = waiting?.settled ?? [];
    const liveness = judgement.liveness ?? same?.liveness;
    const verdict =
      judgement.liveness === undefined && same?.liveness !== undefined ? same.verdict : judgement.verdict;
    const pending: Pending = { ...judgement, verdict, events, settled };
    if (liveness !== undefined) pending.liveness = liveness;
    this.#pending.set(key, pending);
    this.#wake();
    return new Promise((resolve) => settled.push(resolve));
  }

  /** The liveness that is judged but not stored yet; reads show it. */
  pendingFor(namespace: string, agentId: string): Judgement | undefined {
    const key = `${namespace}/${agentId}`;
    return this.#pending.get(key) ?? this.#writing.get(key);
  }

  /** Stops trying; what waits is dropped (agents are judged anew at the next start). */
  close(): void {
    this.#closed = true;
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
      try {
        await this.#write(namespace, group);
      } catch (error) {
        for (const pending of group) this.#putBack(pending);
        this.#options.log.warn({ pending: this.size, err: error }, 'verdicts could not be stored; they wait');
        const pauseMs =
          error instanceof StoreUnavailableError ? Math.min(MAX_PAUSE_MS, error.retryAfterMs) : MAX_PAUSE_MS;
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      } finally {
        for (const pending of group) this.#writing.delete(`${pending.namespace}/${pending.agentId}`);
      }
    }
  }

  #putBack(pending: Pending): void {
    const key = `${pending.namespace}/${pending.agentId}`;
    const newer = this.#pending.get(key);
    if (newer === undefined) {
      this.#pending.set(key, pending);
      return;
    }
    newer.events = [...pending.events, ...newer.events].slice(-EVENTS_PER_AGENT);
    newer.settled.push(...pending.settled);
  }

  async #write(namespace: string, group: readonly Pending[]): Promise<void> {
    const { store, views } = this.#options;
    const fresh = new Map<string, KnownAgent | undefined>();
    for (let round = 0; round < ROUNDS_WITH_CONFLICTS; round += 1) {
      const { checks, puts, appends } = this.#prepare(namespace, group, fresh);
      if (appends.length === 0) break;
      const outcome = await store.commit({ namespace, checks, puts, appends });
      if (outcome.kind === 'committed') {
        await views.waitFor(namespace, outcome.revision, 1000, AbortSignal.timeout(2000)).catch(() => {});
        break;
      }
      if (outcome.kind === 'conflict')
        fresh.set(agentIdOf(outcome.key), await this.#load(namespace, outcome.key));
    }
    for (const pending of group) for (const resolve of pending.settled) resolve();
  }

  #prepare(namespace: string, group: readonly Pending[], fresh: ReadonlyMap<string, KnownAgent | undefined>) {
    const checks: Check[] = [];
    const puts: { key: string; value: Uint8Array }[] = [];
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
        puts.push({ key: agentKey(pending.agentId), value: encodeRecord(this.#judged(known, pending)) });
      }
      for (const event of pending.events) appends.push(this.#options.events.append(event));
    }
    return { checks, puts, appends };
  }

  #judged(known: KnownAgent, pending: Pending) {
    const record = copyRecord(known.record);
    const agent = agentOf(record);
    const now = timestampFromMs(this.#options.clock.wallMs());
    if (pending.liveness !== undefined) agent.liveness = pending.liveness;
    agent.updateTime = now;
    if (pending.liveness === Agent_Liveness.LOST || pending.liveness === Agent_Liveness.LEFT)
      record.goneTime = now;
    pushVerdict(record, pending.verdict);
    return record;
  }

  async #load(namespace: string, key: string): Promise<KnownAgent | undefined> {
    const entry = await this.#options.store.get(namespace, key);
    if (entry === undefined) return undefined;
    return { namespace, id: agentIdOf(key), record: decodeRecord(entry.value), revision: entry.revision };
  }
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
