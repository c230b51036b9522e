// What the stream brought, part by part. Pages read these signals; `wanted` says which parts the shown page needs.
import { batch, signal } from '@preact/signals';
import type { Agent } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Operation } from '../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import type { Task } from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { Alert, Silence } from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type {
  GetTopologyResponse,
  LiveFault,
  SystemStatus,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { GetUsageResponse } from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { hasEnded } from '../lib/task-states.ts';
import type { AgentNews, AgentRow } from '../live/agent-row.ts';
import { onNews, watchLive } from '../live/client.ts';
import { type PartNews, steadyNow, type WatchSpec } from '../live/protocol.ts';
import { EventFeed } from './event-feed.ts';
import { KeyedPart } from './keyed-part.ts';
import { heardAt, link, now, offsetMs } from './link.ts';

/** A part that comes as a whole, and when it came (by `steadyNow`). */
export interface Whole<T> {
  value: T;
  at: number;
}

export const status = signal<Whole<SystemStatus> | undefined>(undefined);
export const usage = signal<Whole<GetUsageResponse> | undefined>(undefined);
export const topology = signal<Whole<GetTopologyResponse> | undefined>(undefined);
/** Parts that cannot be served now, by their number. */
export const faults = signal<ReadonlyMap<number, LiveFault>>(new Map());

/** Grows each time the stream begins: what was asked for once has to be asked for again. */
export const openings = signal(0);

/** Agents of the namespace as a table shows them. */
export const agents = new KeyedPart<AgentRow>();
/** Whole records of agents that were asked for by id. */
export const wholeAgents = new KeyedPart<Agent>();
export const alerts = new KeyedPart<Alert>();
/** Labels as they are, by the id of the alert; of those whose labels are shown otherwise. */
const rawLabels = new Map<string, Readonly<Record<string, string>>>();
export const labelsOf = ({ id, labels }: Alert): Readonly<Record<string, string>> =>
  rawLabels.get(id) ?? labels;
export const silences = new KeyedPart<Silence>();
/** Those that have not ended, and the last that ended while the page looked on. */
export const tasks = new KeyedPart<Task>({ is: ({ state }) => hasEnded(state), most: 1_000 });
export const operations = new KeyedPart<Operation>();
const feed = new EventFeed();
/** Newest first, at most 1,000. */
export const events = feed.events;
/** Whether the events that went before are all there. */
export const eventsSynced = feed.synced;

/** WatchLiveRequest.Part.PART_EVENTS. */
const PART_EVENTS = 4;

let watch = 0;
let current: WatchSpec | undefined;

/** Has the stream bring just this. What was brought before stays, with its age, until there is news of it. */
export function want(spec: WatchSpec): void {
  if (current !== undefined && JSON.stringify(current) === JSON.stringify(spec)) return;
  const moved = current !== undefined && current.namespace !== spec.namespace;
  const narrowed = JSON.stringify(current?.agentIds ?? []) !== JSON.stringify(spec.agentIds);
  // Of events that were not followed meanwhile some would be missing in between.
  const filtered =
    current?.parts.includes(PART_EVENTS) !== true ||
    JSON.stringify(current.eventFilter) !== JSON.stringify(spec.eventFilter);
  current = spec;
  batch(() => {
    if (moved) forgetAll();
    // What is known of all agents is not what is known of a few of them.
    if (narrowed) agents.setComplete(false);
    if (filtered) feed.restart();
    watch = watchLive(spec);
  });
}

function forgetAll(): void {
  for (const part of [agents, wholeAgents, alerts, silences, tasks, operations]) part.clear();
  rawLabels.clear();
  status.value = undefined;
  usage.value = undefined;
  topology.value = undefined;
  feed.clear();
}

onNews((news) => {
  batch(() => {
    if (news.kind === 'link') {
      link.value = news.link;
      now.value = steadyNow();
    } else if (news.kind === 'heard') {
      heardAt.value = news.at;
      offsetMs.value = news.offsetMs;
    } else if (news.kind === 'begin') begin(news.watch);
    else if (news.kind === 'agents' && news.watch === watch) takeAgents(news);
    else if (news.kind === 'part' && news.watch === watch) takePart(news);
  });
});

function begin(of: number): void {
  if (of !== watch) return;
  openings.value += 1;
  for (const part of [agents, wholeAgents, alerts, silences, tasks]) part.begin();
  // They come as they are now; those that are not mentioned have ended before.
  operations.begin();
  faults.value = new Map();
  feed.begin();
}

function takeAgents(news: AgentNews): void {
  for (const row of news.upserts) {
    // A change may come without what was measured.
    const before = agents.get(row.id);
    row.reading ??= before?.reading;
    row.tasks ??= before?.tasks;
    row.deliveries ??= before?.deliveries;
    agents.put(row.id, row);
  }
  for (const { id, reading, tasks: open, deliveries } of news.samples) {
    const row = agents.get(id);
    if (row === undefined) continue;
    row.reading = reading ?? row.reading;
    row.tasks = open;
    row.deliveries = deliveries;
  }
  for (const id of news.removed) {
    agents.delete(id);
    wholeAgents.delete(id);
  }
  for (const agent of news.whole) wholeAgents.put(agent.id, agent);
  if (news.synced) {
    if ((current?.agentIds.length ?? 0) === 0) agents.sweep();
    wholeAgents.sweep();
  }
  agents.changed();
  wholeAgents.changed();
}

function takePart(news: PartNews): void {
  const at = steadyNow();
  switch (news.part) {
    case 'status':
      status.value = { value: news.value, at };
      break;
    case 'usage':
      usage.value = { value: news.value, at };
      break;
    case 'topology':
      topology.value = { value: news.value, at };
      break;
    case 'alerts':
      for (const { id } of news.value.alerts) rawLabels.delete(id);
      for (const id of news.value.removedIds) rawLabels.delete(id);
      for (const [id, labels] of news.rawLabels ?? []) rawLabels.set(id, labels);
      alerts.take(news.value.alerts, news.value.removedIds, news.value.synced);
      silences.take(news.value.silences, news.value.removedSilenceIds, news.value.synced);
      break;
    case 'operations':
      operations.take(news.value.operations, [], false);
      break;
    case 'tasks': {
      const { changes, synced } = news.value;
      tasks.take(
        changes.flatMap(({ task }) => (task === undefined ? [] : [task])),
        [],
        synced,
      );
      break;
    }
    case 'events':
      feed.take(news.value.events, news.value.synced);
      break;
    case 'fault':
      faults.value = new Map(faults.value).set(news.value.part, news.value);
      break;
  }
}
