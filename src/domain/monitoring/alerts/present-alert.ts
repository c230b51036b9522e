import { create } from '@bufbuild/protobuf';
import {
  type Alert,
  Alert_State,
  type AlertCount,
  AlertCountSchema,
  type AlertDelivery,
  AlertDeliverySchema,
  AlertSchema,
  type Silence,
  SilenceSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type { AlertRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import { alertOf, isFiring } from './alert-record.ts';
import type { AlertView, KnownAlert, KnownSilence } from './alert-view.ts';
import { ActiveSilences, concerns, isInForce } from './silencing.ts';

export interface PresentAlertsOptions {
  view: AlertView;
  storeMs(): number;
  /** What became of an alert at each sink; absent: what is stored. */
  deliveries?: (namespace: string, id: string, record: AlertRecord) => AlertDelivery[];
}

/** Silences begin and end with the time: which hold is looked up anew after so long. */
const SILENCES_MS = 250;

/** Alerts and silences as callers see them. */
export class PresentAlerts {
  readonly #options: PresentAlertsOptions;
  #silences: { active: ActiveSilences; version: number; atMs: number } | undefined;

  constructor(options: PresentAlertsOptions) {
    this.#options = options;
  }

  alert({ namespace, id, record, revision }: KnownAlert): Alert {
    const { deliveries } = this.#options;
    const stored = alertOf(record);
    return create(AlertSchema, {
      ...stored,
      revision,
      silenceIds: isFiring(stored) ? this.active().of(stored) : [],
      deliveries: deliveries?.(namespace, id, record) ?? storedDeliveries(record),
    });
  }

  silence({ record, revision }: KnownSilence): Silence {
    const stored = record.silence ?? create(SilenceSchema);
    const { view, storeMs } = this.#options;
    let alerts = 0;
    if (isInForce(stored, storeMs())) {
      const namespaces = stored.namespace === '' ? view.namespaces() : [stored.namespace];
      for (const namespace of namespaces) {
        for (const known of view.open(namespace)) {
          const alert = alertOf(known.record);
          if (isFiring(alert) && concerns(stored, alert)) alerts += 1;
        }
      }
    }
    return create(SilenceSchema, { ...stored, revision, alerts });
  }

  /** The silences that hold now. */
  active(): ActiveSilences {
    const { view, storeMs } = this.#options;
    const nowMs = storeMs();
    const kept = this.#silences;
    const isFresh = kept !== undefined && Math.abs(nowMs - kept.atMs) < SILENCES_MS;
    if (isFresh && kept.version === view.silencesVersion) return kept.active;
    const active = new ActiveSilences(view, nowMs);
    this.#silences = { active, version: view.silencesVersion, atMs: nowMs };
    return active;
  }

  /** Alerts that call for somebody, by severity: those under another one, and silenced ones, left out. */
  counts(namespace: string | undefined): AlertCount[] {
    const { view } = this.#options;
    const counts = new Map<number, AlertCount>();
    for (const each of namespace === undefined ? view.namespaces() : [namespace]) {
      for (const { record } of view.open(each)) {
        const alert = alertOf(record);
        if (!isFiring(alert) || alert.groupedUnder !== '' || this.active().of(alert).length > 0) continue;
        const count = counts.get(alert.severity) ?? create(AlertCountSchema, { severity: alert.severity });
        if (alert.state === Alert_State.FIRING) count.firing += 1;
        else count.acknowledged += 1;
        counts.set(alert.severity, count);
      }
    }
    return [...counts.values()].sort((a, b) => b.severity - a.severity);
  }
}

function storedDeliveries({ tellings }: AlertRecord): AlertDelivery[] {
  return Object.entries(tellings)
    .filter(([, { want }]) => want !== '')
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([sink, { want, told, toldMs }]) =>
      create(AlertDeliverySchema, {
        ...{ sink, told: want, done: want === told },
        ...(toldMs === 0n ? {} : { time: timestampFromMs(Number(toldMs)) }),
      }),
    );
}
