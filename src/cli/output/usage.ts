import { PendingReasonSchema } from '../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type {
  AgentUsage,
  GetUsageResponse,
  ResourceUsage,
} from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { indent, narrower } from './agent-detail.ts';
import { formatAmount } from './amounts.ts';
import { enumName } from './names.ts';
import { quotaTable } from './quota-cells.ts';
import { type Column, renderTable } from './table.ts';
import { bad, dim, plain, renderLine, type Span, type Style, strong, type Tone, warn } from './text.ts';
import { formatAgo, formatMs } from './time.ts';

/** A reading of what is used that is older is marked. */
const STALE_SECONDS = 60;
const BAR = 20;

/**
 * How much of a resource is taken: `█` reserved and used, `▒` reserved only, `░` used only, `!` reserved beyond what may
 * be, `·` free.
 */
export function usageBar({ reservable, reserved, used, excess }: ResourceUsage, width = BAR): string {
  const most = [reservable, reserved, used ?? 0n].reduce((one, other) => (one > other ? one : other), 1n);
  const at = (amount: bigint) => Math.round((Number(amount) / Number(most)) * width);
  const [reservedTo, usedTo, allowedTo] = [
    at(reserved),
    used === undefined ? undefined : at(used),
    at(reservable),
  ];
  let bar = '';
  for (let cell = 0; cell < width; cell++) {
    const isReserved = cell < reservedTo;
    const isUsed = usedTo === undefined ? isReserved : cell < usedTo;
    if (isReserved && excess > 0n && cell >= allowedTo) bar += '!';
    else if (isReserved) bar += isUsed ? '█' : '▒';
    else bar += isUsed ? '░' : '·';
  }
  return bar;
}

function barSpan(usage: ResourceUsage): Span {
  const { reservable, reserved, used, excess } = usage;
  const full = reservable > 0n && reserved >= reservable;
  const tone: Tone = excess > 0n ? 'bad' : full || (used ?? 0n) > reservable ? 'warn' : 'good';
  return { text: usageBar(usage), tone };
}

const resourceColumns: readonly Column[] = [
  { title: 'RESOURCE', shrinkTo: 10 },
  { title: 'RESERVED', align: 'right' },
  { title: 'OF', align: 'right' },
  { title: 'USED', align: 'right' },
  { title: 'CAPACITY', align: 'right', dropOrder: 2 },
  { title: 'TAKEN', dropOrder: 3 },
  { title: 'NOTE', shrinkTo: 12, dropOrder: 1 },
];

function resourceCells(usage: ResourceUsage): Span[] {
  const { resource, capacity, reservable, reserved, used } = usage;
  const figure = (value: bigint) => formatAmount(resource, value);
  return [
    strong(resource),
    plain(figure(reserved)),
    plain(figure(reservable)),
    used === undefined ? dim('–') : plain(figure(used)),
    dim(figure(capacity)),
    barSpan(usage),
    noteSpan(usage),
  ];
}

function noteSpan({ resource, excess, used, usedAgeSeconds }: ResourceUsage): Span {
  if (excess > 0n) return bad(`${formatAmount(resource, excess)} too much is reserved`);
  if (used !== undefined && usedAgeSeconds > STALE_SECONDS)
    return warn(`used: read up to ${formatMs(usedAgeSeconds * 1000)} ago`);
  return plain('');
}

/** How much there is and how much of it is taken, for people. */
export function renderUsage(
  usage: GetUsageResponse,
  { style, nowMs, withAgents }: { style: Style; nowMs: number; withAgents: boolean },
): string[] {
  const inner = narrower(style);
  const lines: string[] = [];
  const section = (title: string, body: readonly string[]) => {
    if (body.length === 0) return;
    lines.push(...(lines.length > 0 ? [''] : []), renderLine([strong(title)], style), ...indent(body));
  };
  const table = (resources: readonly ResourceUsage[]) =>
    resources.length === 0 ? [] : renderTable(resourceColumns, resources.map(resourceCells), inner);
  section('In all', table(usage.total));
  if (usage.zones.length > 1) {
    for (const zone of usage.zones) {
      const name = zone.zone === '' ? 'Without a zone' : `Zone ${zone.zone}`;
      section(`${name}, ${counted(zone.agents, 'agent')}`, table(zone.resources));
    }
  }
  if (withAgents) section('Agents', agentTable(usage.agents, inner));
  section('Quotas', usage.quotas.length === 0 ? [] : quotaTable(usage.quotas, inner, nowMs));
  const waiting = usage.waiting.filter(({ tasks }) => tasks > 0);
  section(
    'Tasks that wait',
    waiting.length === 0
      ? []
      : renderTable(
          [
            { title: 'TASKS', align: 'right' },
            { title: 'BECAUSE OF' },
            { title: 'THE OLDEST', align: 'right' },
          ],
          waiting.map(({ reason, tasks, oldestTime }) => [
            warn(tasks.toLocaleString('en-US')),
            plain(enumName(PendingReasonSchema, reason)),
            plain(formatAgo(oldestTime, nowMs)),
          ]),
          inner,
        ),
  );
  return lines;
}

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

/** The legend of the bars. */
export const usageLegend = '█ reserved and used  ▒ reserved only  ░ used only  ! too much reserved  · free';

function agentTable(agents: readonly AgentUsage[], style: Style): string[] {
  if (agents.length === 0) return [];
  const columns: Column[] = [
    { title: 'AGENT', shrinkTo: 12 },
    { title: 'ZONE', shrinkTo: 6, dropOrder: 5 },
    { title: 'HAS', dropOrder: 4 },
    ...resourceColumns,
  ];
  const rows = agents.flatMap(({ agentId, zone, resources, tasks, allocations, available, detail }) => {
    const more = allocations === 0 ? '' : `, ${counted(allocations, 'allocation')}`;
    const has = `${counted(tasks, 'task')}${more}`;
    const head = [available ? strong(agentId) : dim(agentId), dim(zone), plain(has)];
    const away = available ? undefined : warn(detail === '' ? 'gets no work' : detail);
    if (resources.length === 0) return [[...head, ...Array<Span>(6).fill(plain('')), away ?? plain('')]];
    return resources.map((usage, index) => {
      const cells = resourceCells(usage);
      // An excess is said also of an agent that gets no work.
      if (index === 0 && away !== undefined && usage.excess === 0n) cells[cells.length - 1] = away;
      return [...(index === 0 ? head : [plain(''), plain(''), plain('')]), ...cells];
    });
  });
  return renderTable(columns, rows, style);
}
