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
  /** Empty: it fires from events, or from what the service sees of itself. */
  readonly metric: string;
  readonly below?: boolean;
}

/** Rules that are there without any configuration, and can be changed by their names. A test holds the domain's to it. */
export const BUILTIN_RULE_NAMES: readonly BuiltinRuleName[] = [
  { name: 'system_load', metric: 'system_load' },
  { name: 'agent_health', metric: 'agent_health', below: true },
  { name: 'resource_usage', metric: 'resource_usage' },
  { name: 'communication_latency', metric: 'communication_latency' },
  { name: 'orchestrator_load', metric: 'system_load' },
  { name: 'store_commit_slow', metric: 'store_commit' },
  { name: 'service_down', metric: 'service_up', below: true },
  { name: 'agent_lost', metric: '' },
  { name: 'agent_quarantined', metric: '' },
  { name: 'brake_engaged', metric: '' },
  { name: 'operation_stopped', metric: '' },
  { name: 'dead_letters_growing', metric: '' },
  { name: 'budget_spent', metric: '' },
  { name: 'store_unavailable', metric: '' },
  { name: 'sink_failing', metric: '' },
  { name: 'observer_stalled', metric: '' },
];
