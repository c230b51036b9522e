import type { ProcessExit } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { FailuresConfig } from '../../../config/config.ts';
import type { Background } from '../../../lib/background.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/logger.ts';
import { msFromDuration } from '../../../lib/proto-time.ts';
import { type Store, StoreFullError, StoreUnavailableError } from '../../../state/store.ts';
import type { EventWriter, NewEvent } from '../../monitoring/events.ts';
import { loadAgent } from '../load.ts';
import { agentKey, agentOf, copyRecord, encodeRecord } from '../record.ts';
import type { Session } from '../session.ts';
import { decodeExits, encodeExits, exitsKey, newExits, withExits } from './exits-record.ts';
import { noteFailure } from './failures.ts';
import { policyOf } from './policy.ts';

export interface ProcessExitsOptions {
  store: Store;
  events: EventWriter;
  clock: Clock;
  background: Background;
  log: Logger;
  failures: FailuresConfig;
}

/** Between two commits about the same agents: however often a supervisor reports, it costs so much at most. */
const PAUSE_MS = 100;
const MAX_PAUSE_MS = 1000;
const ATTEMPTS = 8;

/** Keeps how supervised processes ended, as their supervisors report it; what was not asked for counts as a failure. */
export class ProcessExits {
  readonly #options: ProcessExitsOptions;
  /** Sessions whose report has exits that may be new; by "namespace/id". */
  readonly #pending = new Map<string, Session>();
  /** The highest start whose exit is stored, of each session. */
  readonly #stored = new WeakMap<Session, number>();
  #running = false;
  #closed = false;

  constructor(options: ProcessExitsOptions) {
    this.#options = options;
  }

  /** A session has reported its process. Cheap when nothing is new. */
  reported(session: Session): void {
    if (this.#closed || newestStart(session) <= (this.#stored.get(session) ?? 0)) return;
    this.#pending.set(`${session.namespace}/${session.agentId}`, session);
    if (this.#running) return;
    this.#running = true;
    this.#options.background.run('store process exits', () =>
      this.#work().finally(() => (this.#running = false)),
    );
  }

  /** How the process of an agent ended the last times, newest first; none while the store is away. */
  async read(namespace: string, agentId: string): Promise<ProcessExit[]> {
    try {
      const entry = await this.#options.store.get(namespace, exitsKey(agentId));
      return entry === undefined ? [] : decodeExits(entry.value).exits;
    } catch (error) {
      if (error instanceof StoreUnavailableError) return [];
      throw error;
    }
  }

  /** Stops trying; supervisors report the same exits again. */
  close(): void {
    this.#closed = true;
    this.#pending.clear();
  }

  async #work(): Promise<void> {
    const { log } = this.#options;
    while (this.#pending.size > 0 && !this.#closed) {
      let pauseMs = PAUSE_MS;
      for (const [key, session] of [...this.#pending]) {
        this.#pending.delete(key);
        try {
          await this.#store(session);
        } catch (error) {
          const away = error instanceof StoreUnavailableError || error instanceof StoreFullError;
          // While the store is away they wait; what it cannot take is given up, and comes with the next report.
          if (!away)
            log.error({ agent: session.agentId, err: error }, 'exits of a process could not be stored');
          else if (!this.#pending.has(key)) this.#pending.set(key, session);
          if (away) pauseMs = MAX_PAUSE_MS;
        }
        if (pauseMs === MAX_PAUSE_MS) break;
      }
      if (this.#pending.size > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  async #store(session: Session): Promise<void> {
    const { store, events, clock, failures } = this.#options;
    const { namespace, agentId, epoch } = session;
    const highest = newestStart(session);
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const known = await loadAgent(store, namespace, agentId);
      // The newer session reports the same exits.
      if (known === undefined || known.record.sessionEpoch !== epoch) return;
      const entry = await store.get(namespace, exitsKey(agentId));
      const kept = entry === undefined ? undefined : decodeExits(entry.value);
      const fresh = newExits(kept, epoch, session.report?.process?.exits ?? []);
      if (fresh.length === 0) {
        this.#stored.set(session, highest);
        return;
      }
      const storeMs = await store.now();
      const record = copyRecord(known.record);
      const { windowMs } = policyOf(agentOf(record).spec, failures);
      for (const { requested } of fresh) if (!requested) noteFailure(record, 'crashed', storeMs, windowMs);
      const exits = withExits(kept, epoch, fresh, clock.wallMs());
      const outcome = await store.commit({
        namespace,
        checks: [
          { key: agentKey(agentId), revision: known.revision },
          { key: exitsKey(agentId), revision: entry?.revision ?? 0n },
        ],
        puts: [
          { key: exitsKey(agentId), value: encodeExits(exits) },
          ...(fresh.every(({ requested }) => requested)
            ? []
            : [{ key: agentKey(agentId), value: encodeRecord(record) }]),
        ],
        appends: fresh.map((exit) => events.append(exitEvent(agentId, exit))),
      });
      if (outcome.kind === 'conflict') continue;
      this.#stored.set(session, highest);
      return;
    }
    throw new Error(`agent ${agentId} was changed concurrently again and again`);
  }
}

function newestStart(session: Session): number {
  let newest = 0;
  for (const { start } of session.report?.process?.exits ?? []) newest = Math.max(newest, start);
  return newest;
}

function exitEvent(agentId: string, exit: ProcessExit): NewEvent {
  const { start, exitCode, signal, ran, requested } = exit;
  const how =
    exitCode === undefined
      ? `was ended by ${signal === '' ? 'a signal' : signal}`
      : `ended with exit code ${exitCode}`;
  const after = ran === undefined ? '' : ` after ${(msFromDuration(ran) / 1000).toFixed(1)} s`;
  return {
    type: 'agent.process_exited',
    severity: requested ? Event_Severity.INFO : Event_Severity.WARNING,
    message: `the process of ${agentId} ${how}${after}${requested ? ', as it was told to' : ''}`,
    actor: `agent:${agentId}`,
    agentId,
    attributes: {
      start: `${start}`,
      exit_code: exitCode === undefined ? '' : `${exitCode}`,
      signal,
      requested: `${requested}`,
    },
  };
}
