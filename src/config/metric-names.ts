/** Of what there is a figure, as rules name it. */
export type ScopeName = 'fleet' | 'zone' | 'agent' | 'replica' | 'service';

/** What the configuration has to know of a metric; the catalogue of the figures holds the same. */
export interface MetricName {
  readonly name: string;
  readonly scopes: readonly ScopeName[];
  readonly perResource: boolean;
}

const ofFleet = (name: string): MetricName => ({ name, scopes: ['fleet'], perResource: false });
const ofZones = (name: string): MetricName => ({ name, scopes: ['fleet', 'zone'], perResource: false });
const ofAgents = (name: string): MetricName => ({
  name,
  scopes: ['fleet', 'zone', 'agent'],
  perResource: false,
});
const ofReplica = (name: string): MetricName => ({ name, scopes: ['replica'], perResource: false });
const ofService = (name: string): MetricName => ({ name, scopes: ['service'], perResource: false });
const ofResource = (name: string): MetricName => ({ ...ofAgents(name), perResource: true });

/** The metrics that rules can compare. A test holds the catalogue of the figures to it. */
export const METRIC_NAMES: readonly MetricName[] = [
  { name: 'system_load', scopes: ['fleet', 'zone', 'agent', 'replica'], perResource: false },
  ofAgents('agent_health'),
  ofResource('resource_usage'),
  ofResource('resource_reserved'),
  ofResource('resource_used'),
  ofAgents('communication_latency'),
  ofZones('agents_connected'),
  ofZones('agents_lost'),
  ofZones('agents_quarantined'),
  ofFleet('tasks_waiting'),
  ofFleet('tasks_running'),
  ofFleet('task_wait'),
  ofFleet('deliveries_pending'),
  ofFleet('dead_letters'),
  ofFleet('messages_rate'),
  ofReplica('heartbeats_rate'),
  ofReplica('sessions'),
  ofReplica('event_loop_delay'),
  ofReplica('cpu'),
  ofReplica('memory'),
  ofReplica('store_commit'),
  ofService('service_up'),
  ofService('service_latency'),
];

/** What the configuration has to know of a built-in rule; the rules themselves are the domain's. */
export interface BuiltinRuleName {
  readonly name: string;
  /** What it looks at: "own" is what the service sees by itself. */
  readonly kind: 'metric' | 'events' | 'own';
  readonly metric?: string;
  readonly below?: boolean;
  /** What it crosses; absent: a key of `alert_thresholds` of its name says it. */
  readonly threshold?: number;
}

/** Rules that are there without any configuration, and can be changed by their names. A test holds the domain's to it. */
export const BUILTIN_RULE_NAMES: readonly BuiltinRuleName[] = [
  { name: 'system_load', kind: 'metric', metric: 'system_load' },
  { name: 'agent_health', kind: 'metric', metric: 'agent_health', below: true },
  { name: 'resource_usage', kind: 'metric', metric: 'resource_usage' },
  { name: 'communication_latency', kind: 'metric', metric: 'communication_latency' },
  { name: 'orchestrator_load', kind: 'metric', metric: 'system_load', threshold: 0.9 },
  { name: 'observer_stalled', kind: 'metric', metric: 'event_loop_delay', threshold: 1_000 },
  { name: 'store_commit_slow', kind: 'metric', metric: 'store_commit', threshold: 500 },
  { name: 'service_down', kind: 'metric', metric: 'service_up', below: true, threshold: 1 },
  // Its metric is no one else's.
  { name: 'sink_failing', kind: 'metric', metric: 'sink_up', below: true, threshold: 1 },
  { name: 'dead_letters_growing', kind: 'metric', metric: 'dead_letters', threshold: 0 },
  { name: 'agent_lost', kind: 'events' },
  { name: 'agent_quarantined', kind: 'events' },
  { name: 'brake_engaged', kind: 'events' },
  { name: 'service_slow', kind: 'events' },
  { name: 'operation_stopped', kind: 'events' },
  { name: 'budget_spent', kind: 'events' },
  { name: 'common_cause', kind: 'own' },
  { name: 'store_unavailable', kind: 'own' },
  { name: 'alerts_limited', kind: 'own' },
];
