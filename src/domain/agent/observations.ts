import { fromBinary } from '@bufbuild/protobuf';
import type { Observation } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { ObservationRecordSchema } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../lib/encode.ts';
import type { ChangeBatch, LiveRecord, Store } from '../../state/store.ts';
import type { View } from '../../state/views.ts';
import type { AgentDirectory, KnownAgent } from './directory.ts';
import { isAttached } from './liveness.ts';
import { briefObservation, briefOf, observationOf, readSession, sessionHealth } from './observation.ts';
import { agentIdOf, agentKey, agentOf, isAgentKey } from './record.ts';
import type { Session } from './session.ts';
import type { SessionContext } from './session-context.ts';
import type { Sessions } from './sessions.ts';

export interface ObservationsOptions {
  store: Store;
  directory: AgentDirectory;
  context: SessionContext;
  sessions: Sessions;
}

/** Which reading of an agent somebody has seen. */
export interface SeenReading {
  epoch: bigint;
  /** -1: none. */
  beats: number;
  attached: boolean;
}

/** Slices that a flush interval is cut into, so that encoding never holds up the event loop for long. */
const SLICES = 20;

/**
 * What is measured of agents: of those attached here from their sessions, of the others from what their replica (or
 * this one, in an earlier life) wrote as soft records. Encoded until somebody reads it.
 */
export class Observations implements View {
  readonly #options: ObservationsOptions;
  readonly #elsewhere = new Map<string, LiveRecord>();
  /** Heartbeats at the last flush, by session: what did not change is not written again. */
  #flushed = new WeakMap<Session, number>();
  #slice = 0;
  /** Removals of the soft records of agents that were deregistered, until the next flush. */
  #removals: LiveRecord[] = [];

  constructor(options: ObservationsOptions) {
    this.#options = options;
  }

  /** The store fell back: readings of sessions that it does not know of must not stand before those of the present ones. */
  storeReplaced(now: ReadonlyMap<string, KnownAgent>): void {
    for (const { namespace, id, record } of now.values()) {
      const key = `${namespace}/${id}`;
      const last = this.#elsewhere.get(key);
      if (last !== undefined && last.epoch > record.sessionEpoch) this.#elsewhere.delete(key);
    }
  }

  /** Loads what earlier sessions left behind. */
  async load(namespace: string): Promise<void> {
    this.live(await this.#options.store.scanLive(namespace));
  }

  of(known: KnownAgent): Observation | undefined {
    const { sessions, context } = this.#options;
    const session = sessions.get(known.namespace, known.id);
    if (session !== undefined) {
      const age = context.clock.monoMs() - session.lastHeardMs;
      return observationOf(readSession(session, context), age, true);
    }
    const record = this.#elsewhere.get(`${known.namespace}/${known.id}`);
    if (record?.value === undefined || record.epoch > known.record.sessionEpoch) return undefined;
    const attached = isAttached(agentOf(known.record).liveness) && record.epoch === known.record.sessionEpoch;
    const stored = fromBinary(ObservationRecordSchema, record.value);
    return observationOf(stored, context.clock.wallMs() - stored.observeMs, attached);
  }

  /** As `of`, with what a table of thousands shows. */
  brief(known: KnownAgent): Observation | undefined {
    const { sessions, context } = this.#options;
    const session = sessions.get(known.namespace, known.id);
    if (session !== undefined) return briefObservation(session, context);
    const observation = this.of(known);
    return observation === undefined ? undefined : briefOf(observation);
  }

  /** Whether `of` tells something else than when `seen` was made, but for what time does to it; brings `seen` up to date. */
  isNews(known: KnownAgent, seen: SeenReading): boolean {
    const session = this.#options.sessions.get(known.namespace, known.id);
    const record = session === undefined ? this.#elsewhere.get(`${known.namespace}/${known.id}`) : undefined;
    const epoch = session?.epoch ?? record?.epoch ?? 0n;
    const beats = session?.heartbeats ?? record?.sequence ?? -1;
    const attached = session !== undefined || isAttached(agentOf(known.record).liveness);
    if (seen.beats === beats && seen.attached === attached && seen.epoch === epoch) return false;
    seen.epoch = epoch;
    seen.beats = beats;
    seen.attached = attached;
    return true;
  }

  /** The health score alone, at a fraction of what `of` costs; undefined: nothing was measured. */
  health(known: KnownAgent): number | undefined {
    const { sessions, context } = this.#options;
    const session = sessions.get(known.namespace, known.id);
    if (session === undefined) return this.of(known)?.health?.score;
    return sessionHealth(session, context, context.clock.monoMs()).score;
  }

  /** When an agent that is attached here was last heard, monotonic milliseconds. */
  heardMs(known: KnownAgent): number | undefined {
    return this.#options.sessions.get(known.namespace, known.id)?.lastHeardMs;
  }

  /** Keeps the last reading of a session that has ended. */
  ended(session: Session): void {
    const record = this.#record(session);
    this.#elsewhere.set(`${session.namespace}/${session.agentId}`, record);
  }

  /** Writes the next slice of the sessions; call it every `intervalMs`. */
  async flush(): Promise<void> {
    const removals = this.#removals;
    this.#removals = [];
    const records = [...removals];
    let index = 0;
    for (const { session } of this.#options.sessions.all()) {
      index += 1;
      if (index % SLICES !== this.#slice || this.#flushed.get(session) === session.heartbeats) continue;
      // In the store it would stand before the readings of earlier sessions, one of which may be the present one again.
      if (!this.#isStored(session)) continue;
      this.#flushed.set(session, session.heartbeats);
      records.push(this.#record(session));
    }
    this.#slice = (this.#slice + 1) % SLICES;
    if (records.length === 0) return;
    try {
      await this.#options.store.putLive(records);
    } catch (error) {
      this.#removals.push(...removals);
      throw error;
    }
  }

  /** Writes the readings of some sessions at once. @throws StoreUnavailableError */
  async write(sessions: Iterable<Session>): Promise<void> {
    const records: LiveRecord[] = [];
    for (const session of sessions) {
      if (session.ended || !this.#isStored(session)) continue;
      this.#flushed.set(session, session.heartbeats);
      records.push(this.#record(session));
    }
    if (records.length > 0) await this.#options.store.putLive(records);
  }

  /** Writes all that changed; for shutdown. */
  async flushAll(): Promise<void> {
    for (let slice = 0; slice < SLICES; slice += 1) await this.flush();
  }

  get intervalMs(): number {
    return this.#options.context.config.flushIntervalMs / SLICES;
  }

  reset(): void {}

  apply(batch: ChangeBatch): void {
    for (const change of batch.changes) {
      if (change.value !== undefined || !isAgentKey(change.key)) continue;
      const key = `${batch.namespace}/${agentIdOf(change.key)}`;
      const last = this.#elsewhere.get(key);
      this.#elsewhere.delete(key);
      if (last === undefined) continue;
      const { namespace, epoch, sequence } = last;
      this.#removals.push({ namespace, key: change.key, epoch, sequence: sequence + 1 });
    }
  }

  live(records: readonly LiveRecord[]): void {
    for (const record of records) {
      if (!isAgentKey(record.key)) continue;
      const agentId = agentIdOf(record.key);
      const key = `${record.namespace}/${agentId}`;
      // Our own writing comes back; the session itself knows better.
      if (this.#options.sessions.get(record.namespace, agentId)?.epoch === record.epoch) continue;
      // So does its last reading, if this was written before.
      const last = this.#elsewhere.get(key);
      if (last !== undefined && isNewer(last, record) && !(this.#isLost(last) && !this.#isLost(record)))
        continue;
      if (record.value === undefined) this.#elsewhere.delete(key);
      else this.#elsewhere.set(key, record);
    }
  }

  /** Whether the store has the attachment of a session, and has not been replaced since this replica heard of that. */
  #isStored({ namespace, agentId, epoch }: Session): boolean {
    const { directory, store } = this.#options;
    if (directory.epoch(namespace) !== store.status().epoch) return false;
    return epoch <= (directory.get(namespace, agentId)?.record.sessionEpoch ?? 0n);
  }

  /** Whether it is of a session that the store does not know of: it fell back to before that, or this replica lags. */
  #isLost({ namespace, key, epoch }: LiveRecord): boolean {
    const known = this.#options.directory.get(namespace, agentIdOf(key));
    return known !== undefined && epoch > known.record.sessionEpoch;
  }

  #record(session: Session): LiveRecord {
    const { context } = this.#options;
    return {
      namespace: session.namespace,
      key: agentKey(session.agentId),
      epoch: session.epoch,
      sequence: session.heartbeats,
      value: encode(ObservationRecordSchema, readSession(session, context)),
    };
  }
}

const isNewer = (a: LiveRecord, b: LiveRecord): boolean =>
  a.epoch > b.epoch || (a.epoch === b.epoch && a.sequence > b.sequence);
