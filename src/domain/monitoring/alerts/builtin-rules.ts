import { AlertSeverity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Config } from '../../../config/config.ts';
import { typeMatcher } from './event-types.ts';
import type { EventCondition, MetricCondition, Rule } from './rule.ts';

/** Several alerts of one rule that began at once. */
export const COMMON_CAUSE = 'common_cause';
/** The store does not answer: judged by each replica for itself. */
export const STORE_UNAVAILABLE = 'store_unavailable';
/** A mass failure. */
export const BRAKE_ENGAGED = 'brake_engaged';
/** There are so many alerts that further ones do not begin. */
export const ALERTS_LIMITED = 'alerts_limited';

/** Whether a sink takes what it is sent, 1 or 0; of scope SERVICE, by the sink's name. Not in the catalogue. */
export const SINK_UP = 'sink_up';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
/** Long enough that a restart or a short peak is no alert. */
const FOR = 10 * SECOND;
const CLEAR_FOR = 30 * SECOND;

type Given = Partial<Rule> & Pick<Rule, 'name' | 'condition' | 'description'>;

const rule = (given: Given): Rule => ({
  severity: AlertSeverity.WARNING,
  labels: {},
  runbookUrl: '',
  sinks: [],
  namespaces: [],
  builtin: true,
  disabled: false,
  ...given,
});

const when = (
  given: Partial<MetricCondition> & Pick<MetricCondition, 'metric' | 'threshold' | 'clear'>,
): MetricCondition => ({
  kind: 'metric',
  scope: MetricScope.FLEET,
  resource: '',
  selector: undefined,
  below: false,
  forMs: FOR,
  clearForMs: CLEAR_FOR,
  noData: 'keep',
  growthMs: 0,
  ...given,
});

const after = (
  types: readonly string[],
  clears: readonly string[],
  given: Partial<EventCondition> = {},
): EventCondition => ({
  kind: 'events',
  types: typeMatcher(types),
  clears: typeMatcher(clears),
  count: 1,
  windowMs: 0,
  expireAfterMs: undefined,
  expireAttribute: '',
  selector: undefined,
  minSeverity: Event_Severity.UNSPECIFIED,
  ...given,
});

/** Events after which nothing is wrong with an agent any more, or there is none. */
const AGENT_GONE = ['agent.left', 'agent.stopped', 'agent.deregistered', 'agent.forgotten'];

/** The rules that come with the service; the configuration can change each by its name. */
export function builtinRules(thresholds: Config['alertThresholds']): Rule[] {
  const { systemLoad, agentHealth, resourceUsage, communicationLatencyMs } = thresholds;
  return [
    rule({
      name: 'system_load',
      condition: when({ metric: 'system_load', threshold: systemLoad, clear: 0.95 * systemLoad }),
      description:
        'The agents of the namespace report that they are nearly fully loaded. Add agents, or reduce the work that is submitted.',
    }),
    rule({
      name: 'agent_health',
      condition: when({
        metric: 'agent_health',
        below: true,
        threshold: agentHealth,
        clear: Math.min(1.05 * agentHealth, (1 + agentHealth) / 2),
      }),
      severity: AlertSeverity.CRITICAL,
      description:
        'Agents that should work are not attached, do not answer or make no progress. List them: orchestrator agents list.',
    }),
    rule({
      name: 'resource_usage',
      condition: when({ metric: 'resource_usage', threshold: resourceUsage, clear: 0.95 * resourceUsage }),
      description:
        'A resource of the fleet is nearly used up. See orchestrator resources usage; add agents that have it, or lower quotas.',
    }),
    rule({
      name: 'communication_latency',
      condition: when({
        metric: 'communication_latency',
        threshold: communicationLatencyMs,
        clear: 0.95 * communicationLatencyMs,
      }),
      description:
        'Round trips to agents take too long. Look at the network between the service and the agents, and at the event loop of the replicas.',
    }),
    rule({
      name: 'orchestrator_load',
      condition: when({
        metric: 'system_load',
        scope: MetricScope.REPLICA,
        threshold: 0.9,
        clear: 0.8,
        forMs: MINUTE,
      }),
      severity: AlertSeverity.CRITICAL,
      description: 'A replica of this service is nearly fully loaded. Start another replica.',
    }),
    rule({
      name: 'observer_stalled',
      condition: when({
        metric: 'event_loop_delay',
        scope: MetricScope.REPLICA,
        threshold: 1000,
        clear: 500,
        forMs: 0,
      }),
      description:
        'The event loop of a replica stands still for long: what it measures is doubtful. Look for a machine that is overloaded or was paused.',
    }),
    rule({
      name: 'store_commit_slow',
      condition: when({
        metric: 'store_commit',
        scope: MetricScope.REPLICA,
        threshold: 500,
        clear: 250,
        forMs: 30 * SECOND,
      }),
      description: 'Commits take long. Look at the disk of the store, or at Redis and its replicas.',
    }),
    rule({
      name: 'service_down',
      condition: when({
        metric: 'service_up',
        scope: MetricScope.SERVICE,
        below: true,
        threshold: 1,
        clear: 1,
        forMs: 0,
        clearForMs: 0,
      }),
      severity: AlertSeverity.CRITICAL,
      description: 'A system service does not answer its probe, or says that it is not well.',
    }),
    rule({
      name: 'sink_failing',
      condition: when({
        metric: SINK_UP,
        scope: MetricScope.SERVICE,
        below: true,
        threshold: 1,
        clear: 1,
        forMs: 30 * SECOND,
        clearForMs: 0,
      }),
      description: 'Alerts or events cannot be sent to a sink. See orchestrator alerts sinks.',
    }),
    rule({
      name: 'dead_letters_growing',
      condition: when({
        metric: 'dead_letters',
        threshold: 0,
        clear: 0,
        forMs: 0,
        clearForMs: 5 * MINUTE,
        growthMs: 10 * MINUTE,
      }),
      description:
        'Deliveries became dead letters within the last ten minutes; the value says how many. See orchestrator dead-letters.',
    }),
    rule({
      name: 'agent_lost',
      condition: after(
        ['agent.lost'],
        [
          'agent.recovered',
          'agent.connected',
          'agent.moved',
          'agent.answering',
          'agent.restored',
          ...AGENT_GONE,
        ],
      ),
      description: 'An agent is silent beyond its lease. See orchestrator agents explain.',
    }),
    rule({
      name: 'agent_quarantined',
      condition: after(['agent.quarantined'], ['agent.released', 'agent.resumed', ...AGENT_GONE], {
        // Who sets one aside by an order knows of it.
        minSeverity: Event_Severity.WARNING,
      }),
      description: 'An agent was set aside because it failed again and again.',
    }),
    rule({
      name: BRAKE_ENGAGED,
      condition: after(['brake.set'], ['brake.lifted']),
      severity: AlertSeverity.CRITICAL,
      description:
        'So many agents failed at once that no automatic action is taken on them. If the loss is real: orchestrator losses confirm.',
    }),
    rule({
      name: 'service_slow',
      condition: after(['service.slow'], ['service.up', 'service.down']),
      description: 'A system service answers its probe, and takes longer than its threshold "slow".',
    }),
    rule({
      name: 'operation_stopped',
      condition: after(
        ['operation.stopped'],
        ['operation.resumed', 'operation.cancelled', 'operation.ended'],
      ),
      description: 'A fleet operation stopped itself. Look at its failures, then resume or cancel it.',
    }),
    rule({
      name: 'budget_spent',
      condition: after(['budget.spent'], ['quota.updated', 'quota.removed'], {
        expireAttribute: 'period_end',
      }),
      description: 'A budget is spent: what needs it waits for the next period, or for a larger limit.',
    }),
    rule({
      name: COMMON_CAUSE,
      condition: { kind: 'own' },
      severity: AlertSeverity.CRITICAL,
      description: 'Many alerts of one rule began at once, so they have one cause; it stands for them all.',
    }),
    rule({
      name: STORE_UNAVAILABLE,
      condition: { kind: 'own' },
      severity: AlertSeverity.CRITICAL,
      description: 'The store does not answer: nothing can be acknowledged. Agents stay attached meanwhile.',
    }),
    rule({
      name: ALERTS_LIMITED,
      condition: { kind: 'own' },
      description:
        'There are so many open alerts that further ones do not begin. Silence does not help; fix the rule or the cause.',
    }),
  ];
}
