// The pages of the dashboard: a line each. A page is a component without properties; what it wants of the stream is in `parts`.
import type { ComponentType } from 'preact';
import { WatchLiveRequest_Part as Part } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { WatchSpec } from '../live/protocol.ts';
import type { Place } from '../router.ts';
import { AgentPage } from './agent.tsx';
import { AgentsPage } from './agents.tsx';
import { AlertsPage } from './alerts.tsx';
import { EventPage } from './event.tsx';
import { eventChoice, requestFilter } from './events/choice.ts';
import { EventsPage } from './events.tsx';
import { OperationPage } from './operation.tsx';
import { OperationsPage } from './operations.tsx';
import { OverviewPage } from './overview.tsx';
import { ResourcesPage } from './resources.tsx';
import { TaskPage } from './task.tsx';
import { TasksPage } from './tasks.tsx';
import { TopologyPage } from './topology.tsx';

export interface PageEntry {
  /** The first part of its address; "" is the start. */
  path: string;
  title: string;
  /** Its letter after "g". */
  key: string;
  page: ComponentType;
  /** Of the stream, besides the status and alerts, which the frame needs. */
  parts: readonly Part[];
  /** What else it wants of the stream. */
  spec?(place: Place): Partial<WatchSpec>;
  /** Where one of its things is shown: "#/agents/web-1". */
  detail?: Pick<PageEntry, 'page' | 'parts' | 'spec'>;
}

const one: NonNullable<PageEntry['spec']> = ({ path }) => ({
  agentIds: path.slice(1, 2),
  eventFilter: { agentIds: path.slice(1, 2) },
});

export const PAGES: readonly PageEntry[] = [
  {
    path: '',
    title: 'Overview',
    key: 'o',
    page: OverviewPage,
    parts: [Part.EVENTS],
    spec: () => ({ recentEvents: 30 }),
  },
  {
    path: 'agents',
    title: 'Agents',
    key: 'a',
    page: AgentsPage,
    parts: [Part.AGENTS],
    detail: { page: AgentPage, parts: [Part.AGENTS, Part.EVENTS], spec: one },
  },
  { path: 'topology', title: 'Topology', key: 't', page: TopologyPage, parts: [Part.TRAFFIC] },
  {
    path: 'tasks',
    title: 'Tasks',
    key: 'k',
    page: TasksPage,
    parts: [Part.TASKS],
    detail: { page: TaskPage, parts: [Part.TASKS] },
  },
  { path: 'resources', title: 'Resources', key: 'r', page: ResourcesPage, parts: [Part.USAGE] },
  {
    path: 'operations',
    title: 'Operations',
    key: 'p',
    page: OperationsPage,
    parts: [Part.OPERATIONS],
    detail: { page: OperationPage, parts: [Part.OPERATIONS] },
  },
  { path: 'alerts', title: 'Alerts', key: 'l', page: AlertsPage, parts: [] },
  {
    path: 'events',
    title: 'Events',
    key: 'e',
    page: EventsPage,
    parts: [Part.EVENTS],
    spec: ({ query }) => ({ recentEvents: 300, eventFilter: requestFilter(eventChoice(query)) }),
    detail: { page: EventPage, parts: [] },
  },
];

export function pageOf({ path }: Place): PageEntry | undefined {
  return PAGES.find((page) => page.path === (path[0] ?? ''));
}
