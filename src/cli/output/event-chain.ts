import type {
  Event,
  GetEventResponse,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { severitySpan } from './event-lines.ts';
import { renderFields } from './table.ts';
import { dim, type Line, plain, renderLine, type Style, strong } from './text.ts';
import { formatTime } from './time.ts';

/** Deeper ones are drawn at this depth. */
const DEEPEST = 12;

/** An event in full, and its chain: the first cause at the top, each consequence under what led to it. */
export function renderChain(response: GetEventResponse, event: Event, style: Style): string[] {
  const lines = renderFields(fields(event), style);
  const { causes, consequences, truncated } = response;
  if (causes.length === 0 && consequences.length === 0) {
    lines.push('', renderLine([dim('nothing is known to have led to it, or to have come of it')], style));
    return lines;
  }
  lines.push('');
  const depths = new Map<string, number>();
  const chain = [...[...causes].reverse(), event];
  for (const [depth, each] of chain.entries()) {
    depths.set(each.id, depth);
    lines.push(renderLine(chainLine(each, depth, each.id === event.id), style));
  }
  for (const each of ordered(consequences, event.id)) {
    const depth = (depths.get(each.causeId) ?? chain.length - 1) + 1;
    depths.set(each.id, depth);
    lines.push(renderLine(chainLine(each, depth, false), style));
  }
  if (truncated) lines.push(renderLine([dim('there may be more consequences')], style));
  return lines;
}

/** Each right after what led to it. */
function ordered(events: readonly Event[], root: string): Event[] {
  const below = new Map<string, Event[]>();
  const ids = new Set(events.map(({ id }) => id));
  for (const each of events) {
    const parent = ids.has(each.causeId) ? each.causeId : root;
    below.set(parent, [...(below.get(parent) ?? []), each]);
  }
  const found: Event[] = [];
  const waiting = [...(below.get(root) ?? [])].reverse();
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    found.push(next);
    waiting.push(...[...(below.get(next.id) ?? [])].reverse());
    below.delete(next.id);
  }
  return found;
}

function chainLine(event: Event, depth: number, isIt: boolean): Line {
  const lead = depth === 0 ? '' : `${'  '.repeat(Math.min(depth, DEEPEST) - 1)}└ `;
  const { text, tone } = severitySpan(event.severity);
  return [
    dim(`${formatTime(event.time)} `),
    plain(lead),
    {
      text: isIt ? `▶ ${event.type}` : event.type,
      tone: isIt ? 'strong' : text === 'INFO' ? 'plain' : (tone ?? 'plain'),
    },
    ...(event.agentId === '' ? [] : [plain('  '), strong(event.agentId)]),
    plain(`  ${event.message}`),
    dim(`  ${event.id}`),
  ];
}

function fields(event: Event): [string, Line][] {
  const { id, namespace, type, time, severity, agentId, message, actor, replicaId, attributes, verdict } =
    event;
  return [
    ['event', [strong(type), plain('  '), severitySpan(severity), dim(`  ${id} in ${namespace}`)]],
    ['message', [plain(message)]],
    ['time', [plain(formatTime(time))]],
    ...(agentId === '' ? [] : [['agent', [strong(agentId)]] satisfies [string, Line]]),
    ['by', [plain(actor), dim(`  written by ${replicaId}`)]],
    ...(verdict === undefined
      ? []
      : [['verdict', [plain(`${verdict.rule}: ${verdict.detail}`)]] satisfies [string, Line]]),
    ...Object.entries(attributes).map(([key, value]): [string, Line] => [key, [plain(value)]]),
  ];
}
