import {
  Alert_StateSchema,
  AlertSeveritySchema,
  type SilenceMatcher,
  SilenceMatcherSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  AcknowledgeAlertRequestSchema,
  CreateSilenceRequestSchema,
  DeleteSilenceRequestSchema,
  GetAlertRequestSchema,
  ListAlertRulesRequestSchema,
  ListAlertSinksRequestSchema,
  ListAlertsRequestSchema,
  ListSilencesRequestSchema,
  WatchAlertsRequestSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import {
  AggregationSchema,
  MetricScope,
  MetricScopeSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import {
  DiagnoseRequestSchema,
  Event_SeveritySchema,
  type EventFilter,
  EventFilterSchema,
  GetConfigRequestSchema,
  GetEventRequestSchema,
  GetReportRequestSchema,
  GetSystemStatusRequestSchema,
  GetTopologyRequestSchema,
  ListEventsRequestSchema,
  ListMetricsRequestSchema,
  QueryMetricsRequestSchema,
  WatchEventsRequestSchema,
  WatchLiveRequest_PartSchema,
  WatchLiveRequestSchema,
  WatchSystemStatusRequestSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { labelSelector } from './agent-filter.ts';
import { labelKeyFault } from './labels.ts';
import { between, duration, isBefore, known, notNegative, timestamp } from './numbers.ts';
import { cursorOfNamespace, pageToken, type RequestRule, request } from './request-rules.ts';
import { anything, list, message, optional, type Rule, required } from './rules.ts';
import { agentId, line, namespace, optionalAgentId, prose, requestId, visible, word } from './text.ts';

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const MAX_TOPOLOGY_NODES = 2000;

/** Where what concerns the whole service is kept: it can be read as a namespace is, and nobody can write there. */
const SYSTEM = '_system';

/** A namespace, "_system", or empty. */
const readNamespace: Rule<string> = (violations, text) => {
  if (text !== SYSTEM) namespace(violations, text);
};

const dotted = (allowed: string) =>
  word({
    max: 128,
    empty: 'refused',
    pattern: /^(?:\*|[a-z0-9_]+(?:\.[a-z0-9_]+)*(?:\.\*)?)$/,
    allowed,
  });

const eventType = dotted('a dotted name of characters [a-z0-9_], or a prefix of one such as "agent.*"');

const eventId = (empty: 'allowed' | 'refused') =>
  word({ max: 32, empty, pattern: /^\d{1,18}-\d{1,9}$/, allowed: 'an id of an event such as "17-0"' });

type Range = Parameters<typeof isBefore>[0] | undefined;

const startBeforeEnd: Rule<{ startTime?: Range; endTime?: Range }> = (violations, { startTime, endTime }) => {
  if (startTime === undefined || endTime === undefined || isBefore(startTime, endTime)) return;
  violations.addAt('end_time', 'must be after start_time');
};

const eventFilter: Rule<EventFilter> = message(
  EventFilterSchema,
  {
    agentIds: list({ max: 32, item: agentId }),
    types: list({ max: 32, item: eventType }),
    minSeverity: known(Event_SeveritySchema, 'allowed'),
    startTime: timestamp,
    endTime: timestamp,
    causeId: eventId('allowed'),
    actor: line(256),
  },
  startBeforeEnd,
);

const ALERT_ID = { max: 64, pattern: /^[A-Za-z0-9_-]+$/, allowed: 'of characters [A-Za-z0-9_-]' } as const;
const alertId = word({ ...ALERT_ID, empty: 'refused' });
const ruleName = visible(128, 'refused');
const metricName = word({
  max: 64,
  empty: 'refused',
  pattern: /^[a-z][a-z0-9_]*$/,
  allowed: 'a name that ListMetrics tells',
});
const resourceName = word({
  max: 64,
  empty: 'allowed',
  pattern: /^[A-Za-z0-9._/-]+$/,
  allowed: 'of characters [A-Za-z0-9._/-]',
});

const matcher: Rule<SilenceMatcher> = message(SilenceMatcherSchema, {
  name: word({
    max: 128,
    empty: 'refused',
    pattern: /^[A-Za-z0-9._/-]+$/,
    allowed: 'of characters [A-Za-z0-9._/-]',
  }),
  value: line(256),
  negate: anything,
});

const matchers: Rule<readonly SilenceMatcher[]> = (violations, items) => {
  if (items.length === 0) violations.add('must not be empty');
  list({ max: 16, item: matcher })(violations, items);
};

const comment: Rule<string> = (violations, text) => {
  if (text.trim() === '') violations.add('must say why');
  prose(1024)(violations, text);
};

const groupBy: Rule<string> = (violations, text) => {
  const fault = text === '' ? undefined : labelKeyFault(text);
  if (fault !== undefined) violations.add(fault);
};

const statusInterval = duration({ minMs: 100, maxMs: HOUR_MS, range: '100 ms to 1 h' });
const page = { pageSize: notNegative, pageToken };

/** The rules of requests about status, events, metrics, diagnosis and alerts. */
export const monitoringRules: readonly RequestRule[] = [
  request(GetSystemStatusRequestSchema, { namespace }),
  request(WatchSystemStatusRequestSchema, { namespace, minInterval: statusInterval }),
  request(ListEventsRequestSchema, { namespace: readNamespace, filter: optional(eventFilter), ...page }),
  request(
    WatchEventsRequestSchema,
    { namespace: readNamespace, filter: optional(eventFilter), cursor: anything },
    cursorOfNamespace,
  ),
  request(GetEventRequestSchema, { namespace: readNamespace, eventId: eventId('refused') }),
  request(
    QueryMetricsRequestSchema,
    {
      namespace: readNamespace,
      metric: metricName,
      scope: known(MetricScopeSchema, 'refused'),
      ids: list({ max: 1000, item: visible(128, 'refused'), distinct: (id) => id }),
      selector: labelSelector,
      resource: resourceName,
      startTime: timestamp,
      endTime: timestamp,
      step: duration({ minMs: SECOND_MS, maxMs: 366 * DAY_MS, range: '1 s to 366 days' }),
      aggregations: list({
        max: 6,
        item: known(AggregationSchema, 'refused'),
        distinct: (aggregation) => `${aggregation}`,
      }),
      merge: anything,
    },
    (violations, given) => {
      startBeforeEnd(violations, given);
      if (given.selector !== '' && given.scope !== MetricScope.AGENT)
        violations.addAt('selector', 'is allowed with METRIC_SCOPE_AGENT only');
    },
  ),
  request(ListMetricsRequestSchema, {}),
  request(GetTopologyRequestSchema, {
    namespace,
    selector: labelSelector,
    groupBy,
    maxNodes: between(0, MAX_TOPOLOGY_NODES),
  }),
  request(DiagnoseRequestSchema, {
    namespace: readNamespace,
    checks: list({
      max: 64,
      item: dotted('an id of a check such as "system_coordination.verify_state", or a prefix such as "a.*"'),
    }),
  }),
  request(GetReportRequestSchema, {
    namespace,
    endTime: timestamp,
    window: duration({ minMs: MINUTE_MS, maxMs: 31 * DAY_MS, range: '1 min to 31 days' }),
  }),
  request(
    WatchLiveRequestSchema,
    {
      namespace,
      parts: list({
        max: 8,
        item: known(WatchLiveRequest_PartSchema, 'refused'),
        distinct: (part) => `${part}`,
      }),
      minInterval: duration({ minMs: 250, maxMs: MINUTE_MS, range: '250 ms to 1 min' }),
      agentIds: list({ max: 32, item: agentId, distinct: (id) => id }),
      eventFilter: optional(eventFilter),
      recentEvents: between(0, 1000),
    },
    (violations, { parts }) => {
      if (parts.length === 0) violations.addAt('parts', 'must name at least one part');
    },
  ),
  request(GetConfigRequestSchema, {}),

  request(GetAlertRequestSchema, { alertId }),
  request(ListAlertsRequestSchema, {
    namespace: readNamespace,
    states: list({ max: 16, item: known(Alert_StateSchema, 'refused') }),
    rules: list({ max: 32, item: ruleName }),
    minSeverity: known(AlertSeveritySchema, 'allowed'),
    withGrouped: anything,
    groupedUnder: word({ ...ALERT_ID, empty: 'allowed' }),
    agentId: optionalAgentId,
    ...page,
  }),
  request(WatchAlertsRequestSchema, { namespace: readNamespace, withResolved: anything }),
  request(AcknowledgeAlertRequestSchema, {
    alertId,
    comment: prose(1024),
    withdraw: anything,
    expectedRevision: notNegative,
    requestId,
  }),
  request(ListAlertRulesRequestSchema, {}),
  request(
    CreateSilenceRequestSchema,
    {
      namespace: readNamespace,
      matchers,
      startTime: timestamp,
      endTime: required(timestamp),
      comment,
      requestId,
    },
    startBeforeEnd,
  ),
  request(ListSilencesRequestSchema, { namespace: readNamespace, withExpired: anything }),
  request(DeleteSilenceRequestSchema, { silenceId: alertId, requestId }),
  request(ListAlertSinksRequestSchema, {}),
];
