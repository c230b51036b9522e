import type {
  LinkPolicy,
  MessageLatency,
  MessageLink,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { Column } from './table.ts';
import { bad, dim, plain, type Span, strong, warn } from './text.ts';
import { formatAgo, formatDuration } from './time.ts';

export const policyColumns: readonly Column[] = [
  { title: 'POLICY', shrinkTo: 12 },
  { title: 'FROM', shrinkTo: 12 },
  { title: 'TO', shrinkTo: 12 },
  { title: 'ACTION', shrinkTo: 14 },
  { title: 'PRIORITY', align: 'right', dropOrder: 1 },
  { title: 'SET', align: 'right', dropOrder: 2 },
  { title: 'BY', shrinkTo: 8, dropOrder: 3 },
  { title: 'REASON', shrinkTo: 12, dropOrder: 0 },
];

export function policyCells(policy: LinkPolicy, nowMs: number): Span[] {
  return [
    strong(policy.id),
    policy.from === '' ? dim('everyone') : plain(policy.from),
    policy.to === '' ? dim('everyone') : plain(policy.to),
    warn(actionWords(policy)),
    plain(`${policy.priority}`),
    dim(formatAgo(policy.updateTime, nowMs)),
    dim(policy.actor),
    plain(policy.reason),
  ];
}

/** What a policy does, in a few words. */
export function actionWords({ action }: LinkPolicy): string {
  switch (action.case) {
    case 'mute':
      return 'mute';
    case 'reroute':
      return `reroute to ${action.value.agentId}`;
    case 'throttle': {
      const { maxPerSecond, burst, perLink } = action.value;
      const more = `${burst === 0 ? '' : `, burst ${burst}`}${perLink ? ', each pair' : ''}`;
      return `throttle to ${maxPerSecond}/s${more}`;
    }
    default:
      return 'unknown to this version';
  }
}

export const linkColumns: readonly Column[] = [
  { title: 'FROM', shrinkTo: 12 },
  { title: 'TO', shrinkTo: 12 },
  { title: 'SENT', align: 'right' },
  { title: 'DONE', align: 'right' },
  { title: 'FAILED', align: 'right' },
  { title: 'WAITING', align: 'right' },
  { title: 'KEPT BACK', align: 'right', dropOrder: 3 },
  { title: 'TAKEN ON P50', align: 'right', dropOrder: 4 },
  { title: 'P99', align: 'right', dropOrder: 5 },
  { title: 'DONE P50', align: 'right', dropOrder: 1 },
  { title: 'P99', align: 'right', dropOrder: 2 },
  { title: 'LAST', align: 'right', dropOrder: 0 },
];

export function linkCells(link: MessageLink, nowMs: number): Span[] {
  const { sent, done, failed, inFlight, keptBack } = link;
  return [
    plain(link.sender),
    strong(link.receiver),
    plain(`${sent}`),
    plain(`${done}`),
    failed === 0n ? dim('0') : bad(`${failed}`),
    plain(`${inFlight}`),
    keptBack === 0n ? dim('0') : warn(`${keptBack}`),
    ...latencies(link.takeOnLatency),
    ...latencies(link.doneLatency),
    dim(formatAgo(link.lastTime, nowMs)),
  ];
}

const latencies = (latency: MessageLatency | undefined): Span[] => [
  plain(formatDuration(latency?.p50)),
  plain(formatDuration(latency?.p99)),
];
