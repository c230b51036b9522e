import type { AlertSeverity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { LabelSelector } from '../../agent/label-selector.ts';
import type { TypeMatcher } from './event-types.ts';

/** When a figure calls for somebody. */
export interface MetricCondition {
  kind: 'metric';
  /** Of the catalogue, or one of `sources` of the evaluator. */
  metric: string;
  scope: MetricScope;
  /** Empty: each. */
  resource: string;
  /** Undefined: all. Agents by their labels, others by "name". */
  selector: LabelSelector | undefined;
  /** Whether it fires below the threshold, else above. */
  below: boolean;
  threshold: number;
  clear: number;
  forMs: number;
  clearForMs: number;
  noData: 'keep' | 'fire';
  /** Instead of the figure, by how much it grew in so long is judged; 0: the figure. */
  growthMs: number;
}

/** When something that happened does. */
export interface EventCondition {
  kind: 'events';
  types: TypeMatcher;
  /** About the same subject: these resolve it. */
  clears: TypeMatcher;
  /** So many within the window. */
  count: number;
  windowMs: number;
  /** Undefined: only `clears` resolve it. */
  expireAfterMs: number | undefined;
  /** The attribute of the event that says when it is over, as an RFC 3339 time; empty: none. */
  expireAttribute: string;
  /** Agents by their labels; undefined: all. */
  selector: LabelSelector | undefined;
  /** Less serious events do not count. */
  minSeverity: number;
}

/** What only the evaluator itself fires: heads of groups, and what is judged while the store is away. */
export interface OwnCondition {
  kind: 'own';
}

/** When an alert fires, and what it says. */
export interface Rule {
  name: string;
  condition: MetricCondition | EventCondition | OwnCondition;
  severity: AlertSeverity;
  labels: Readonly<Record<string, string>>;
  description: string;
  runbookUrl: string;
  /** Empty: all. */
  sinks: readonly string[];
  /** Empty: all. */
  namespaces: readonly string[];
  builtin: boolean;
  disabled: boolean;
}

/** A rule of figures. */
export type MetricRule = Rule & { condition: MetricCondition };
/** A rule of events. */
export type EventRule = Rule & { condition: EventCondition };

export const isMetricRule = (rule: Rule): rule is MetricRule => rule.condition.kind === 'metric';
export const isEventRule = (rule: Rule): rule is EventRule => rule.condition.kind === 'events';

export const holdsIn = (rule: Rule, namespace: string): boolean =>
  !rule.disabled && (rule.namespaces.length === 0 || rule.namespaces.includes(namespace));
