import { create } from '@bufbuild/protobuf';
import {
  Alert_State,
  type AlertSink,
  type Silence,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  type GetAlertRequest,
  type GetAlertResponse,
  GetAlertResponseSchema,
  type ListAlertRulesResponse,
  ListAlertRulesResponseSchema,
  type ListAlertSinksResponse,
  ListAlertSinksResponseSchema,
  type ListAlertsRequest,
  type ListAlertsResponse,
  ListAlertsResponseSchema,
  type ListSilencesRequest,
  type ListSilencesResponse,
  ListSilencesResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import { decodePageToken, encodePageToken, fingerprint } from '../../../lib/page-token.ts';
import { invalidFields } from '../../agent/errors.ts';
import { alertNotFound } from './alert-errors.ts';
import { alertOf, isFiring } from './alert-record.ts';
import type { AlertView, KnownAlert, KnownSilence } from './alert-view.ts';
import { publicRule } from './compile-rules.ts';
import type { PresentAlerts } from './present-alert.ts';
import type { Rule } from './rule.ts';
import { endMsOf } from './silencing.ts';
import { startMsOf } from './transitions.ts';

export interface AlertReaderOptions {
  view: AlertView;
  present: PresentAlerts;
  rules: ReadonlyMap<string, Rule>;
  storeMs(): number;
  /** That the store is away: it cannot be stored. */
  outage?: () => KnownAlert | undefined;
  /** Where alerts are sent, by name. */
  sinks?: () => AlertSink[];
}

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;
const UNRESOLVED: readonly Alert_State[] = [
  Alert_State.PENDING,
  Alert_State.FIRING,
  Alert_State.ACKNOWLEDGED,
];

/** Shows alerts, rules, silences and sinks, from the views of this replica. */
export class AlertReader {
  readonly #options: AlertReaderOptions;

  constructor(options: AlertReaderOptions) {
    this.#options = options;
  }

  /** @throws DomainError ALERT_NOT_FOUND */
  get({ alertId }: GetAlertRequest): GetAlertResponse {
    const { view, present } = this.#options;
    const outage = this.#options.outage?.();
    const known = view.get(alertId) ?? (outage?.id === alertId ? outage : undefined);
    if (known === undefined) throw alertNotFound(alertId);
    return create(GetAlertResponseSchema, { alert: present.alert(known) });
  }

  /** @throws DomainError INVALID_FIELDS (page token) */
  list(request: ListAlertsRequest): ListAlertsResponse {
    const { present } = this.#options;
    const { pageSize, pageToken, namespace, states, rules, minSeverity } = request;
    const { withGrouped, groupedUnder, agentId } = request;
    const print = fingerprint([
      namespace,
      [...states].sort(),
      [...rules].sort(),
      minSeverity,
      withGrouped ? 1 : 0,
      groupedUnder,
      agentId,
    ]);
    const after = pageToken === '' ? undefined : afterOf(pageToken, print);
    const matching = this.#matching(request)
      .map((known) => ({ known, place: placeOf(known) }))
      .sort((a, b) => (a.place < b.place ? -1 : 1));
    const rest = after === undefined ? matching : matching.filter(({ place }) => place > after);
    const size = pageSize === 0 ? DEFAULT_PAGE : Math.min(MAX_PAGE, pageSize);
    const page = rest.slice(0, size);
    const last = page.at(-1);
    return create(ListAlertsResponseSchema, {
      alerts: page.map(({ known }) => present.alert(known)),
      nextPageToken:
        rest.length > size && last !== undefined
          ? encodePageToken({ kind: 'alerts', fingerprint: print, after: last.place })
          : '',
      totalSize: matching.length,
    });
  }

  #matching(request: ListAlertsRequest): KnownAlert[] {
    const { view } = this.#options;
    const states = new Set(request.states.length === 0 ? UNRESOLVED : request.states);
    const rules = new Set(request.rules);
    const found: KnownAlert[] = [];
    const outage = this.#options.outage?.();
    const stored = view.records(request.namespace === '' ? undefined : request.namespace);
    const all = Array.from(stored, ([, known]) => known);
    if (outage !== undefined && (request.namespace === '' || request.namespace === outage.namespace))
      if (view.get(outage.id) === undefined) all.push(outage);
    for (const known of all) {
      const alert = alertOf(known.record);
      if (!states.has(alert.state) || alert.severity < request.minSeverity) continue;
      if (rules.size > 0 && !rules.has(alert.rule)) continue;
      if (request.agentId !== '' && alert.labels.agent_id !== request.agentId) continue;
      if (request.groupedUnder !== '') {
        if (alert.groupedUnder !== request.groupedUnder) continue;
      } else if (!request.withGrouped && alert.groupedUnder !== '') continue;
      found.push(known);
    }
    return found;
  }

  rules(): ListAlertRulesResponse {
    const { rules, view } = this.#options;
    const counts = new Map<string, { pending: number; firing: number }>();
    for (const namespace of view.namespaces()) {
      for (const { record } of view.open(namespace)) {
        const alert = alertOf(record);
        const count = counts.get(alert.rule) ?? { pending: 0, firing: 0 };
        if (isFiring(alert)) count.firing += 1;
        else count.pending += 1;
        counts.set(alert.rule, count);
      }
    }
    const outage = this.#options.outage?.();
    if (outage !== undefined && view.get(outage.id) === undefined)
      counts.set(alertOf(outage.record).rule, { pending: 0, firing: 1 });
    const all = [...rules.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    return create(ListAlertRulesResponseSchema, {
      rules: all.map((rule) => ({ ...publicRule(rule), ...counts.get(rule.name) })),
    });
  }

  silences({ namespace, withExpired }: ListSilencesRequest): ListSilencesResponse {
    const { view, present, storeMs } = this.#options;
    const nowMs = storeMs();
    const found: { known: KnownSilence; endMs: number }[] = [];
    for (const known of view.silences()) {
      const { silence } = known.record;
      if (silence === undefined || !isShown(silence, namespace)) continue;
      const endMs = endMsOf(silence);
      if (withExpired || endMs > nowMs) found.push({ known, endMs });
    }
    found.sort((a, b) => a.endMs - b.endMs || (a.known.id < b.known.id ? -1 : 1));
    return create(ListSilencesResponseSchema, {
      silences: found.map(({ known }) => present.silence(known)),
    });
  }

  sinks(): ListAlertSinksResponse {
    return create(ListAlertSinksResponseSchema, { sinks: this.#options.sinks?.() ?? [] });
  }
}

/** Silences of a namespace, and those that hold everywhere; of all, if none is named. */
export const isShown = (silence: Silence, namespace: string): boolean =>
  namespace === '' || silence.namespace === '' || silence.namespace === namespace;

const FAR_MS = 9_999_999_999_999;

/** The worst first, then the newest. */
function placeOf({ id, record }: KnownAlert): string {
  const alert = alertOf(record);
  const newest = FAR_MS - Math.round(startMsOf(alert));
  return `${9 - alert.severity} ${`${newest}`.padStart(13, '0')} ${id}`;
}

function afterOf(token: string, print: string): string {
  const decoded = decodePageToken(token, { kind: 'alerts', fingerprint: print });
  if (decoded.kind === 'token') return decoded.after;
  throw invalidFields(`page_token ${decoded.description}`, [
    { field: 'page_token', description: decoded.description },
  ]);
}
