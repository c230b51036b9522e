import { create } from '@bufbuild/protobuf';
import {
  type Metric,
  MetricSchema,
  MetricScope,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';

const { FLEET, ZONE, AGENT, REPLICA, SERVICE } = MetricScope;

type Unit = 'ratio' | 'ms' | 'count' | 'per_second' | 'bytes' | 'cores';

interface Options {
  perResource?: boolean;
  lowerIsWorse?: boolean;
}

function metric(
  name: string,
  unit: Unit,
  scopes: readonly MetricScope[],
  description: string,
  { perResource = false, lowerIsWorse = false }: Options = {},
): Metric {
  return create(MetricSchema, { name, unit, scopes: [...scopes], description, perResource, lowerIsWorse });
}

const ALL_AGENTS = [FLEET, ZONE, AGENT];

/** All metrics, in the order in which they are listed. docs/metrics.md describes each; a test holds it to this. */
export const METRICS: readonly Metric[] = [
  metric(
    'system_load',
    'ratio',
    [...ALL_AGENTS, REPLICA],
    'How busy it is, 0..1. Agents: the load that they report, weighted by their slots. Replicas: the larger of the busy share of one core and the event-loop delay (p99) over 500 ms.',
  ),
  metric(
    'agent_health',
    'ratio',
    ALL_AGENTS,
    'The health score, 0..1; of several agents the mean. Agents that should work and are not attached count as 0.',
    { lowerIsWorse: true },
  ),
  metric(
    'resource_usage',
    'ratio',
    ALL_AGENTS,
    'The larger of what is reserved and what is reported as used, over the capacity of agents that may be given work.',
    { perResource: true },
  ),
  metric('resource_reserved', 'ratio', ALL_AGENTS, 'What is reserved over the capacity.', {
    perResource: true,
  }),
  metric('resource_used', 'ratio', ALL_AGENTS, 'What agents report as used over the capacity.', {
    perResource: true,
  }),
  metric(
    'communication_latency',
    'ms',
    ALL_AGENTS,
    'Round trips: of an agent the 95th percentile of its last 128, of several the 95th percentile over agents of theirs.',
  ),
  metric('agents_connected', 'count', [FLEET, ZONE], 'Agents that are attached.'),
  metric('agents_lost', 'count', [FLEET, ZONE], 'Agents that are LOST.'),
  metric('agents_quarantined', 'count', [FLEET, ZONE], 'Agents that are set aside.'),
  metric('tasks_waiting', 'count', [FLEET], 'Tasks that wait for an agent.'),
  metric('tasks_running', 'count', [FLEET], 'Tasks that an agent has: offered to it, or under way.'),
  metric('task_wait', 'ms', [FLEET], 'How long the task that has waited longest has done so; 0: none waits.'),
  metric('deliveries_pending', 'count', [FLEET], 'Deliveries in mailboxes that are not finished.'),
  metric('dead_letters', 'count', [FLEET], 'Dead letters that are kept.'),
  metric('messages_rate', 'per_second', [FLEET], 'Messages put into mailboxes, over the last ten seconds.'),
  metric('heartbeats_rate', 'per_second', [REPLICA], 'Heartbeats heard, over the last ten seconds.'),
  metric('sessions', 'count', [REPLICA], 'Sessions that are held.'),
  metric('event_loop_delay', 'ms', [REPLICA], 'Event-loop delay, 99th percentile of the last ten seconds.'),
  metric('cpu', 'cores', [REPLICA], 'CPU used, over the last ten seconds.'),
  metric('memory', 'bytes', [REPLICA], 'Resident memory.'),
  metric('store_commit', 'ms', [REPLICA], 'Commits to the store, 99th percentile of the last ten seconds.'),
  metric(
    'service_up',
    'ratio',
    [SERVICE],
    'Whether a system service answers: 1 or 0; unknown while nobody asks it.',
    {
      lowerIsWorse: true,
    },
  ),
  metric('service_latency', 'ms', [SERVICE], 'How long a system service took to answer.'),
];

const BY_NAME = new Map(METRICS.map((each) => [each.name, each]));

export const metricOf = (name: string): Metric | undefined => BY_NAME.get(name);

/** Whether figures of a scope belong to the whole service and not to a namespace of users. */
export const isSystemScope = (scope: MetricScope): boolean => scope === REPLICA || scope === SERVICE;
