import { create } from '@bufbuild/protobuf';
import {
  type Alert,
  Alert_State,
  AlertSeverity,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  type Event,
  Event_Severity,
  EventFilterSchema,
  type Incident,
  IncidentSchema,
  ListEventsRequestSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { msFromTimestamp, timestampFromMs } from '../../../lib/proto-time.ts';
import type { ReportSources, Window } from './ports.ts';

export interface Incidents {
  /** Newest first. */
  shown: Incident[];
  /** All that there were. */
  count: number;
  /** Whether there were more events than are looked at. */
  truncated: boolean;
}

const MAX_INCIDENTS = 100;
/** Each page looks at ten thousand events at most. */
const MAX_PAGES = 20;
const PAGE = 1000;
/** What happens to several agents so closely together is one incident. */
const TOGETHER_MS = 10_000;
const MAX_NAMED = 5;

const BRAKE_LIFTED = 'brake.lifted';
const TYPES = [
  ...['agent.lost', 'agent.quarantined', 'agent.restarted', 'agent.restart_failed', 'agent.stuck'],
  ...['brake.set', BRAKE_LIFTED, 'operation.stopped', 'budget.spent', 'resource.over_reserved'],
];

/** What is said of several. */
const SEVERAL: Readonly<Record<string, string>> = {
  'agent.lost': 'agents were lost',
  'agent.quarantined': 'agents were set aside',
  'agent.restarted': 'agents were restarted',
  'agent.restart_failed': 'restarts of agents failed',
  'agent.stuck': 'agents made no progress',
};

/** What went wrong within a window: alerts, and events that no alert tells of. */
export async function incidentsOf(
  { alerts, events }: Pick<ReportSources, 'alerts' | 'events'>,
  namespace: string,
  window: Window,
): Promise<Incidents> {
  const told = new Set<string>();
  const found: Incident[] = [];
  for (const alert of alerts(namespace)) {
    // What an alert tells of, also one under another, needs no second incident.
    told.add(alert.causeEventId);
    const incident = alertIncident(alert, window);
    if (incident !== undefined) found.push(incident);
  }
  const { list, truncated } = await eventsOf(events, namespace, window);
  found.push(...eventIncidents(list, told));
  found.sort((a, b) => startMs(b) - startMs(a));
  return { shown: found.slice(0, MAX_INCIDENTS), count: found.length, truncated };
}

const startMs = ({ startTime }: Incident): number =>
  startTime === undefined ? 0 : msFromTimestamp(startTime);

/** An alert that fired in the window, and is under no other. */
function alertIncident(alert: Alert, { fromMs, toMs }: Window): Incident | undefined {
  const { fireTime, resolveTime, groupedUnder, rule, summary, groupSize } = alert;
  if (fireTime === undefined || groupedUnder !== '') return undefined;
  const firedMs = msFromTimestamp(fireTime);
  if (firedMs < fromMs || firedMs >= toMs) return undefined;
  const over = alert.state === Alert_State.RESOLVED && resolveTime !== undefined;
  return create(IncidentSchema, {
    startTime: alert.startTime ?? fireTime,
    ...(over ? { endTime: resolveTime } : {}),
    type: `alert:${rule}`,
    summary,
    severity: SEVERITIES[alert.severity] ?? Event_Severity.WARNING,
    eventId: alert.eventId,
    alertId: alert.id,
    count: Math.max(1, groupSize),
  });
}

const SEVERITIES: Readonly<Record<number, Event_Severity>> = {
  [AlertSeverity.INFO]: Event_Severity.INFO,
  [AlertSeverity.WARNING]: Event_Severity.WARNING,
  [AlertSeverity.CRITICAL]: Event_Severity.ERROR,
};

/** Newest first. */
async function eventsOf(events: ReportSources['events'], namespace: string, { fromMs, toMs }: Window) {
  const request = create(ListEventsRequestSchema, {
    namespace,
    pageSize: PAGE,
    filter: create(EventFilterSchema, {
      types: TYPES,
      startTime: timestampFromMs(fromMs),
      endTime: timestampFromMs(toMs),
    }),
  });
  const list: Event[] = [];
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const response = await events(request);
    list.push(...response.events);
    request.pageToken = response.nextPageToken;
    if (request.pageToken === '') return { list, truncated: false };
  }
  return { list, truncated: true };
}

/** @param list newest first */
function eventIncidents(list: readonly Event[], told: ReadonlySet<string>): Incident[] {
  const incidents: Incident[] = [];
  /** The end of a brake is met before its beginning. */
  const lifted = new Map<string, Event>();
  const groups = new Map<string, Event[]>();
  const close = (events: readonly Event[]): void => {
    incidents.push(together(events));
  };
  for (const event of list) {
    const { type } = event;
    if (type === BRAKE_LIFTED) {
      lifted.set(event.attributes.zone ?? '', event);
      continue;
    }
    if (type === 'brake.set') {
      const end = lifted.get(event.attributes.zone ?? '');
      lifted.delete(event.attributes.zone ?? '');
      if (!told.has(event.id)) incidents.push(moment(event, end));
      continue;
    }
    if (told.has(event.id)) continue;
    const group = groups.get(type);
    const last = group?.at(-1);
    if (group === undefined || last === undefined || timeMs(last) - timeMs(event) > TOGETHER_MS) {
      if (group !== undefined) close(group);
      groups.set(type, [event]);
    } else group.push(event);
  }
  for (const group of groups.values()) close(group);
  return incidents;
}

const timeMs = ({ time }: Event): number => (time === undefined ? 0 : msFromTimestamp(time));

function moment(event: Event, end?: Event): Incident {
  const { time, type, message, severity, id, agentId } = event;
  const summary = agentId === '' || message.includes(agentId) ? message : `${agentId}: ${message}`;
  return create(IncidentSchema, {
    ...{ type, summary, severity, eventId: id, count: 1 },
    ...(time === undefined ? {} : { startTime: time }),
    ...(end?.time === undefined ? {} : { endTime: end.time }),
  });
}

/** Events of one type close together, newest first. */
function together(events: readonly Event[]): Incident {
  const [newest] = events;
  const oldest = events.at(-1);
  if (newest === undefined || oldest === undefined) throw new Error('an incident without events');
  if (events.length === 1) return moment(newest);
  const incident = moment(oldest, newest);
  const names = [...new Set(events.map(({ agentId }) => agentId).filter((id) => id !== ''))].sort();
  const named = names.slice(0, MAX_NAMED).join(', ');
  const more = names.length > MAX_NAMED ? ', …' : '';
  incident.count = events.length;
  incident.summary = `${events.length} ${SEVERAL[newest.type] ?? `times ${newest.type}`}`;
  if (named !== '') incident.summary += `: ${named}${more}`;
  return incident;
}
