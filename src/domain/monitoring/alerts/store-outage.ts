import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import {
  type Alert,
  Alert_State,
  AlertSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  AlertRecord_TellingSchema,
  AlertRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { SinkConfig } from '../../../config/monitoring-config.ts';
import type { Clock } from '../../../lib/clock.ts';
import { durationFromMs, timestampFromMs } from '../../../lib/proto-time.ts';
import { type Store, StoreUnavailableError } from '../../../state/store.ts';
import { SYSTEM_NAMESPACE } from '../../namespaces.ts';
import type { EventWriter } from '../events.ts';
import { alertKey, encodeAlert, eventOfThisCommit, fingerprintOf, RECORD_FORMAT } from './alert-record.ts';
import type { KnownAlert } from './alert-view.ts';
import { STORE_UNAVAILABLE } from './builtin-rules.ts';
import { FIRED } from './drafts.ts';
import { holdsIn, type Rule } from './rule.ts';
import { FIRING, RESOLVED, sinksOf } from './telling.ts';
import { eventOf } from './transitions.ts';

export interface StoreOutageOptions {
  store: Pick<Store, 'status' | 'commit'>;
  clock: Clock;
  rules: ReadonlyMap<string, Rule>;
  sinks: readonly SinkConfig[];
  events: EventWriter;
  replicaId: string;
  observerDelayMs(): number;
  /** The last commit that was seen in the namespace of the service: with the epoch it names the outage for all replicas. */
  lastRevision(): bigint;
  /** Tells sinks of an alert that cannot be stored. */
  sendNow?: (alert: Alert, what: 'firing' | 'resolved', ruleSinks: readonly string[]) => void;
  /** Its end is stored now, and told from there: nobody is to hear any more that it fires. */
  takeBack?: (alert: Alert) => void;
}

/** A store that was away for less is no alert: a failover takes about so long. */
export const OUTAGE_MS = 5_000;

/**
 * Judges that the store is away, on each replica for itself: while it is, nothing can be stored, and nobody can hold a lease.
 * All replicas give it the same id. It is stored once the store is back, by whoever is first.
 */
export class StoreOutage {
  readonly #options: StoreOutageOptions;
  #awaySinceMs: number | undefined;
  #alert: Alert | undefined;
  readonly #listeners = new Set<(id: string) => void>();

  constructor(options: StoreOutageOptions) {
    this.#options = options;
  }

  /** The alert, while the store is away. */
  get alert(): Alert | undefined {
    return this.#alert;
  }

  /** The same as those that are stored are known. */
  get known(): KnownAlert | undefined {
    const alert = this.#alert;
    if (alert === undefined) return undefined;
    const record = create(AlertRecordSchema, { format: RECORD_FORMAT, alert });
    return { namespace: SYSTEM_NAMESPACE, id: alert.id, record, revision: 0n };
  }

  /** Told when it fires; that it is over is seen in what is stored. Returns what ends it. */
  subscribe(listener: (id: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Call it every second or more often. */
  async tick(): Promise<void> {
    const { store, clock, rules } = this.#options;
    const rule = rules.get(STORE_UNAVAILABLE);
    if (rule === undefined || !holdsIn(rule, SYSTEM_NAMESPACE)) return;
    const status = store.status();
    if (status.available) {
      this.#awaySinceMs = undefined;
      if (this.#alert !== undefined) await this.#end(this.#alert, rule);
      return;
    }
    this.#awaySinceMs ??= clock.monoMs();
    if (this.#alert !== undefined || clock.monoMs() - this.#awaySinceMs < OUTAGE_MS) return;
    this.#alert = this.#begin(rule, clock.monoMs() - this.#awaySinceMs);
    for (const listener of this.#listeners) listener(this.#alert.id);
    this.#options.sendNow?.(this.#alert, FIRING, rule.sinks);
  }

  #begin(rule: Rule, awayMs: number): Alert {
    const { store, clock, replicaId, observerDelayMs } = this.#options;
    const { kind, detail, epoch } = store.status();
    const startMs = clock.wallMs() - awayMs;
    const about = `${STORE_UNAVAILABLE} ${epoch} ${this.#options.lastRevision()}`;
    return create(AlertSchema, {
      id: createHash('sha256').update(about).digest('hex').slice(0, 32),
      namespace: SYSTEM_NAMESPACE,
      rule: rule.name,
      severity: rule.severity,
      state: Alert_State.FIRING,
      labels: { ...rule.labels, store: kind },
      summary: `the store (${kind}) does not answer: ${detail}`.slice(0, 1024),
      description: rule.description,
      runbookUrl: rule.runbookUrl,
      startTime: timestampFromMs(startMs),
      fireTime: timestampFromMs(clock.wallMs()),
      fires: 1,
      replicaId,
      observerDelay: durationFromMs(observerDelayMs()),
    });
  }

  /** It is over: what was told is stored, and with it that its end is to be told. */
  async #end(alert: Alert, rule: Rule): Promise<void> {
    const { store, clock, events, sinks } = this.#options;
    const { startTime } = alert;
    const lasted = startTime === undefined ? 0 : clock.wallMs() / 1000 - Number(startTime.seconds);
    const resolved = create(AlertSchema, {
      ...alert,
      state: Alert_State.RESOLVED,
      resolveTime: timestampFromMs(clock.wallMs()),
      resolveReason: 'cleared',
      summary: `${alert.summary} (for ${Math.round(lasted)} s)`,
    });
    resolved.eventId = eventOfThisCommit(0);
    const record = create(AlertRecordSchema, {
      format: RECORD_FORMAT,
      alert: resolved,
      fingerprint: fingerprintOf(rule.name, { store: alert.labels.store ?? '' }),
    });
    for (const name of sinksOf(alert, rule.sinks, sinks)) {
      record.tellings[name] = create(AlertRecord_TellingSchema, { want: RESOLVED });
    }
    try {
      const outcome = await store.commit({
        namespace: SYSTEM_NAMESPACE,
        // Another replica may have stored it.
        checks: [{ key: alertKey(alert.id), revision: 0n }],
        puts: [{ key: alertKey(alert.id), value: encodeAlert(record) }],
        appends: [
          events.append(eventOf(alert, FIRED, `${alert.rule}: ${alert.summary}`)),
          events.append(eventOf(resolved, 'alert.resolved', `${alert.rule} is over: ${resolved.summary}`)),
        ],
      });
      this.#alert = undefined;
      // What was sent from here was sent before that commit, and the end comes after it; unless another replica was first.
      if (outcome.kind === 'committed') this.#options.takeBack?.(resolved);
      else this.#options.sendNow?.(resolved, RESOLVED, rule.sinks);
    } catch (error) {
      // Away again.
      if (!(error instanceof StoreUnavailableError)) throw error;
    }
  }
}
