import { create } from '@bufbuild/protobuf';
import {
  type AlertRule,
  AlertRule_NoData,
  AlertRuleSchema,
  AlertSeverity,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { Config } from '../../../config/config.ts';
import type { RuleConfig } from '../../../config/monitoring-config.ts';
import { durationFromMs } from '../../../lib/proto-time.ts';
import { formatLabelSelector, type LabelSelector, parseLabelSelector } from '../../agent/label-selector.ts';
import { builtinRules, SINK_UP } from './builtin-rules.ts';
import { typeMatcher } from './event-types.ts';
import { type EventCondition, isEventRule, isMetricRule, type MetricCondition, type Rule } from './rule.ts';

/** The built-in rules as the configuration changes them, and those that it adds; by name. */
export function compileRules(config: Pick<Config, 'alertThresholds' | 'alerts'>): ReadonlyMap<string, Rule> {
  const rules = new Map(builtinRules(config.alertThresholds).map((rule) => [rule.name, rule]));
  for (const given of config.alerts.rules) rules.set(given.name, compile(given, rules.get(given.name)));
  return rules;
}

const SEVERITIES = {
  info: AlertSeverity.INFO,
  warning: AlertSeverity.WARNING,
  critical: AlertSeverity.CRITICAL,
} as const;

const SCOPES = {
  fleet: MetricScope.FLEET,
  zone: MetricScope.ZONE,
  agent: MetricScope.AGENT,
  replica: MetricScope.REPLICA,
  service: MetricScope.SERVICE,
} as const;

function compile(given: RuleConfig, before: Rule | undefined): Rule {
  return {
    name: given.name,
    condition: conditionOf(given, before?.condition),
    severity:
      given.severity === undefined ? (before?.severity ?? AlertSeverity.WARNING) : SEVERITIES[given.severity],
    labels: given.labels ?? before?.labels ?? {},
    description: given.description ?? before?.description ?? '',
    runbookUrl: given.runbookUrl ?? before?.runbookUrl ?? '',
    sinks: given.sinks ?? before?.sinks ?? [],
    namespaces: given.namespaces ?? before?.namespaces ?? [],
    builtin: before?.builtin ?? false,
    disabled: given.disabled ?? before?.disabled ?? false,
  };
}

function conditionOf(given: RuleConfig, before: Rule['condition'] | undefined): Rule['condition'] {
  if (given.metric !== undefined) {
    return metricCondition(
      given,
      before?.kind === 'metric' && before.metric === given.metric ? before : undefined,
    );
  }
  if (given.events !== undefined)
    return eventCondition(given, before?.kind === 'events' ? before : undefined);
  if (before?.kind === 'metric') return metricCondition(given, before);
  if (before?.kind === 'events') return eventCondition(given, before);
  // Only the built-in ones have neither; the configuration refuses others.
  return before ?? { kind: 'own' };
}

function metricCondition(given: RuleConfig, before: MetricCondition | undefined): MetricCondition {
  const below = given.below === undefined ? given.above === undefined && (before?.below ?? false) : true;
  const threshold = given.below ?? given.above ?? before?.threshold ?? 0;
  const isNew = before === undefined || given.above !== undefined || given.below !== undefined;
  return {
    kind: 'metric',
    metric: given.metric ?? before?.metric ?? '',
    scope: given.scope === undefined ? (before?.scope ?? MetricScope.FLEET) : SCOPES[given.scope],
    resource: given.resource ?? before?.resource ?? '',
    selector: selectorOf(given.selector) ?? before?.selector,
    below,
    threshold,
    clear: given.clear ?? (isNew ? defaultClear(threshold, below) : before.clear),
    forMs: given.forMs ?? before?.forMs ?? 0,
    clearForMs: given.clearForMs ?? before?.clearForMs ?? 0,
    noData: given.noData ?? before?.noData ?? 'keep',
    growthMs: before?.growthMs ?? 0,
  };
}

/** 5 % of the threshold on its good side; a share can be no more than 1, so no more than half-way there. */
export function defaultClear(threshold: number, below: boolean): number {
  if (!below) return threshold - 0.05 * Math.abs(threshold);
  const clear = threshold + 0.05 * Math.abs(threshold);
  return threshold <= 1 && clear > (1 + threshold) / 2 ? (1 + threshold) / 2 : clear;
}

function eventCondition(given: RuleConfig, before: EventCondition | undefined): EventCondition {
  return {
    kind: 'events',
    types: given.events === undefined ? (before?.types ?? typeMatcher([])) : typeMatcher(given.events),
    clears:
      given.clearEvents === undefined ? (before?.clears ?? typeMatcher([])) : typeMatcher(given.clearEvents),
    count: given.eventCount ?? before?.count ?? 1,
    windowMs: given.eventWindowMs ?? before?.windowMs ?? 0,
    expireAfterMs:
      given.expireAfterMs ??
      before?.expireAfterMs ??
      (endsByItself(given, before) ? undefined : DEFAULT_EXPIRY_MS),
    expireAttribute: before?.expireAttribute ?? '',
    selector: selectorOf(given.selector) ?? before?.selector,
    minSeverity: before?.minSeverity ?? 0,
  };
}

/** What no event ends is over some time after the last one that fired it. */
const DEFAULT_EXPIRY_MS = 3_600_000;

const endsByItself = (given: RuleConfig, before: EventCondition | undefined): boolean =>
  (given.clearEvents ?? before?.clears.patterns ?? []).length > 0 || (before?.expireAttribute ?? '') !== '';

const selectorOf = (text: string | undefined): LabelSelector | undefined =>
  text === undefined || text === '' ? undefined : parseLabelSelector(text);

/** A rule as ListAlertRules shows it. */
export function publicRule(rule: Rule): AlertRule {
  const message = create(AlertRuleSchema, {
    name: rule.name,
    severity: rule.severity,
    labels: { ...rule.labels },
    description: rule.description,
    runbookUrl: rule.runbookUrl,
    sinks: [...rule.sinks],
    builtin: rule.builtin,
    disabled: rule.disabled,
    namespaces: [...rule.namespaces],
  });
  if (isMetricRule(rule)) {
    const { condition } = rule;
    message.metric = condition.metric === SINK_UP ? '' : condition.metric;
    message.scope = condition.scope;
    message.resource = condition.resource;
    message.selector = condition.selector === undefined ? '' : formatLabelSelector(condition.selector);
    message.below = condition.below;
    message.threshold = condition.threshold;
    message.clearThreshold = condition.clear;
    message.forDuration = durationFromMs(condition.forMs);
    message.clearForDuration = durationFromMs(condition.clearForMs);
    message.noData = condition.noData === 'fire' ? AlertRule_NoData.FIRE : AlertRule_NoData.KEEP;
  } else if (isEventRule(rule)) {
    const { condition } = rule;
    message.events = [...condition.types.patterns];
    message.clearEvents = [...condition.clears.patterns];
    if (condition.expireAfterMs !== undefined) message.expireAfter = durationFromMs(condition.expireAfterMs);
    message.eventCount = condition.count;
    if (condition.windowMs > 0) message.eventWindow = durationFromMs(condition.windowMs);
    message.selector = condition.selector === undefined ? '' : formatLabelSelector(condition.selector);
  }
  return message;
}
