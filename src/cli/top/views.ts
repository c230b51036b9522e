import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { type Alert, Alert_State } from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { WatchLiveRequest_Part as Part } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { ageSpan, healthSpan, livenessSpan, phaseSpan, reading } from '../output/agent-cells.ts';
import { alertCells, alertColumns } from '../output/alert-cells.ts';
import { eventCells, eventColumns } from '../output/event-lines.ts';
import { freshnessOf, staleAfterMs } from '../output/freshness.ts';
import { replicaTable } from '../output/status.ts';
import { serviceTable } from '../output/status-monitoring.ts';
import { type Column, renderTable } from '../output/table.ts';
import { dim, plain, renderLine, type Span, type Style, strong } from '../output/text.ts';
import { durationMs, formatDuration, timestampMs } from '../output/time.ts';
import type { Look, Sort } from './keys.ts';
import type { TopAgent, TopModel } from './model.ts';

/** The part of a table that is shown. */
export interface Window {
  from: number;
  rows: number;
}

/** Longer tables are rendered only where they are seen: widths of columns are then those of what is seen. */
const WHOLE_ROWS = 300;

/**
 * The lines of what is looked at; the first is the head of the table. Of a long table only those of the window are rendered, and
 * the others are empty.
 */
export function viewRows(
  model: TopModel,
  look: Look,
  style: Style,
  nowMs: number,
  window?: Window,
): string[] {
  switch (look.view) {
    case 'agents':
      return agentRows(model, look, style, nowMs, window);
    case 'alerts':
      return alertRows(model, look, style);
    case 'events':
      return eventRows(model, look, style);
    case 'service':
      return serviceRows(model, style);
  }
}

const PARTS = { agents: Part.AGENTS, alerts: Part.ALERTS, events: Part.EVENTS } as const;

/** What stands in place of a table without rows. */
function empty(model: TopModel, look: Look, style: Style, nothing: string): string[] {
  const part = look.view === 'service' ? undefined : PARTS[look.view];
  const fault = part === undefined ? undefined : model.faults.get(part);
  const words = fault ?? (look.filter === '' ? nothing : `nothing holds "${look.filter}"`);
  return ['', renderLine([dim(`  ${words}`)], style)];
}

const agentColumns: readonly Column[] = [
  { title: 'AGENT', shrinkTo: 14 },
  { title: 'KIND', shrinkTo: 8, dropOrder: 5 },
  { title: 'PHASE', dropOrder: 6 },
  { title: 'LIVENESS' },
  { title: 'HEALTH', align: 'right' },
  { title: 'LOAD', align: 'right', dropOrder: 1 },
  { title: 'RTT P50', align: 'right', dropOrder: 4 },
  { title: 'RTT P95', align: 'right', dropOrder: 2 },
  { title: 'TASKS', align: 'right', dropOrder: 3 },
  { title: 'MAIL', align: 'right', dropOrder: 3 },
  { title: 'READING', align: 'right' },
  { title: 'REPLICA', shrinkTo: 8, dropOrder: 7 },
];

function agentRows(model: TopModel, look: Look, style: Style, nowMs: number, window?: Window): string[] {
  const agents = [...model.agents.values()].filter(({ agent }) =>
    holds(look.filter, [agent.id, agent.spec?.kind, ...Object.values(agent.spec?.labels ?? {})]),
  );
  if (agents.length === 0)
    return empty(model, look, style, model.synced ? 'no agents are registered' : 'waiting for agents…');
  const order = look.reversed ? -1 : 1;
  const staleMs = staleAfterMs(model.status);
  agents.sort((a, b) => order * compare(look.sort, a, b) || (a.agent.id < b.agent.id ? -1 : 1));
  const several = (model.status?.replicas.length ?? 0) > 1;
  const columns = several ? agentColumns : agentColumns.slice(0, -1);
  const render = (some: readonly TopAgent[]): string[] =>
    renderTable(
      columns,
      some.map((each) => agentCells(each, staleMs, nowMs)),
      style,
    );
  if (window === undefined || agents.length <= WHOLE_ROWS) return render(agents);
  const from = Math.max(0, Math.min(window.from, agents.length - window.rows));
  const [head = '', ...seen] = render(agents.slice(from, from + window.rows));
  const lines = new Array<string>(agents.length + 1).fill('');
  lines[0] = head;
  for (const [at, line] of seen.entries()) lines[from + 1 + at] = line;
  return lines;
}

function agentCells({ agent, atMs, deliveries, tasks }: TopAgent, staleMs: number, nowMs: number): Span[] {
  const freshness = freshnessOf(agent, staleMs, nowMs - atMs);
  const { spec, observation } = agent;
  const trip = observation?.roundTrip;
  const load = observation?.report?.load;
  return [
    strong(agent.id),
    plain(spec?.kind ?? ''),
    phaseSpan(agent.phase),
    livenessSpan(agent.liveness, freshness),
    healthSpan(agent, freshness),
    reading(load?.toFixed(2), freshness, load !== undefined && load >= 0.8 ? 'warn' : 'plain'),
    reading(trip && formatDuration(trip.p50), freshness),
    reading(trip && formatDuration(trip.p95), freshness),
    plain(String(tasks)),
    plain(String(deliveries)),
    ageSpan(freshness),
    plain(observation?.replicaId ?? ''),
  ];
}

/** The worst, the busiest, the slowest first. */
function compare(sort: Sort, a: TopAgent, b: TopAgent): number {
  switch (sort) {
    case 'health':
      return healthOf(a) - healthOf(b);
    case 'load':
      return loadOf(b) - loadOf(a);
    case 'latency':
      return latencyOf(b) - latencyOf(a);
    case 'deliveries':
      return b.deliveries - a.deliveries;
    case 'tasks':
      return b.tasks - a.tasks;
    case 'name':
      return 0;
  }
}

/** Those that were never there, or have left, are nobody's trouble. */
function healthOf({ agent }: TopAgent): number {
  if (agent.liveness === Agent_Liveness.LEFT || agent.liveness === Agent_Liveness.NEVER_SEEN) return 2;
  return agent.observation?.health?.score ?? 1;
}

const loadOf = ({ agent }: TopAgent): number => agent.observation?.report?.load ?? -1;

function latencyOf({ agent }: TopAgent): number {
  const p95 = agent.observation?.roundTrip?.p95;
  return p95 === undefined ? -1 : durationMs(p95);
}

/** Firing before pending before what is looked after before what is over; the worst and newest of each first. */
const RANKS: Partial<Record<Alert_State, number>> = {
  [Alert_State.FIRING]: 0,
  [Alert_State.PENDING]: 1,
  [Alert_State.ACKNOWLEDGED]: 2,
};

function alertRows(model: TopModel, look: Look, style: Style): string[] {
  const rank = ({ state, groupedUnder }: Alert): number =>
    (RANKS[state] ?? 3) + (groupedUnder === '' ? 0 : 0.5);
  const since = ({ fireTime, startTime }: Alert): number => {
    const time = fireTime ?? startTime;
    return time === undefined ? 0 : timestampMs(time);
  };
  const alerts = [...model.alerts.values()]
    .filter(({ rule, summary, namespace, labels }) =>
      holds(look.filter, [rule, summary, namespace, ...Object.values(labels)]),
    )
    .sort((a, b) => rank(a) - rank(b) || b.severity - a.severity || since(b) - since(a));
  if (alerts.length === 0) return empty(model, look, style, 'nothing fires');
  const nowMs = Date.now();
  return renderTable(
    alertColumns,
    alerts.map((alert) => alertCells(alert, nowMs)),
    style,
  );
}

function eventRows(model: TopModel, look: Look, style: Style): string[] {
  const events = model.events.filter(({ type, agentId, message, actor }) =>
    holds(look.filter, [type, agentId, message, actor]),
  );
  if (events.length === 0) return empty(model, look, style, 'nothing has happened yet');
  return renderTable(
    eventColumns,
    events.reverse().map((event) => eventCells(event, false)),
    style,
  );
}

function serviceRows({ status }: TopModel, style: Style): string[] {
  if (status === undefined) return ['', ''];
  const nowMs = status.time === undefined ? Date.now() : timestampMs(status.time);
  const services = serviceTable(status.services, nowMs, style);
  return [
    ...replicaTable(status.replicas, status.replica?.id, nowMs, style),
    ...(services.length === 0 ? [] : ['', ...services]),
    ...(status.reasons.length === 0
      ? []
      : ['', ...status.reasons.map((reason) => renderLine([plain(reason)], style))]),
  ];
}

function holds(filter: string, texts: readonly (string | undefined)[]): boolean {
  if (filter === '') return true;
  const wanted = filter.toLowerCase();
  return texts.some((text) => text?.toLowerCase().includes(wanted));
}
