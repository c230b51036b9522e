import type { Message } from '@bufbuild/protobuf';
import {
  type SystemStatus,
  type WatchLiveRequest,
  WatchLiveRequest_Part,
  type WatchLiveResponse,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/logger.ts';
import { msFromDuration } from '../../../lib/proto-time.ts';
import type { Views } from '../../../state/views.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import type { Observations } from '../../agent/observations.ts';
import type { OperationReader } from '../../coordination/operations/operation-reader.ts';
import type { OperationView } from '../../coordination/operations/operation-view.ts';
import type { TaskReader } from '../../coordination/tasks/task-reader.ts';
import type { TaskView } from '../../coordination/tasks/task-view.ts';
import { namespaceOf } from '../../namespaces.ts';
import type { EventLog } from '../event-log.ts';
import type { Topology } from '../topology/topology.ts';
import { type AgentCounts, AgentHub } from './agent-hub.ts';
import { AgentsPart } from './agents-part.ts';
import { EventsPart, SharedEvents } from './events-part.ts';
import { FeedPart } from './feed-part.ts';
import { Hubs } from './hubs.ts';
import type { LivePart, PartContext } from './live-part.ts';
import { NamedAgentsPart } from './named-agents-part.ts';
import { OPERATIONS_SHAPE, OperationHub } from './operation-hub.ts';
import { PulledPart } from './pulled-part.ts';
import { SharedStatus, StatusPart } from './status-part.ts';
import { TASKS_SHAPE, TaskHub } from './task-hub.ts';
import { watchLive } from './watch-live.ts';
import { SharedWholes, WholePart } from './whole-part.ts';
import { type UsageSource, wholeTopology, wholeUsage } from './wholes.ts';

export interface LiveStreamsOptions {
  clock: Clock;
  log: Logger;
  replicaId: string;
  views: Views;
  directory: AgentDirectory;
  observations: Observations;
  counts: AgentCounts;
  events: EventLog;
  tasks: { view: TaskView; reader: Pick<TaskReader, 'show'> };
  operations: { view: OperationView; reader: Pick<OperationReader, 'show'> };
  usage: UsageSource;
  topology: Pick<Topology, 'get'>;
  status(namespace: string): SystemStatus;
  /** Watches alerts of a namespace and of the service. */
  alerts(namespace: string, signal: AbortSignal): AsyncIterable<Message>;
}

const Part = WatchLiveRequest_Part;
const DEFAULT_INTERVAL_MS = 1000;
const USAGE_EVERY_MS = 2000;
const TOPOLOGY_EVERY_MS = 3000;
/** Wholes that several watchers want at about the same time are made once. */
const WHOLE_KEPT_MS = 1500;

/** Serves live streams; what several of them show is made once for all. */
export class LiveStreams {
  readonly #options: LiveStreamsOptions;
  readonly #agents: Hubs<AgentHub>;
  readonly #tasks: Hubs<TaskHub>;
  readonly #operations: Hubs<OperationHub>;
  readonly #events = new SharedEvents();
  readonly #status: SharedStatus;
  readonly #wholes: SharedWholes;

  constructor(options: LiveStreamsOptions) {
    this.#options = options;
    const { clock, directory, observations, counts, tasks, operations } = options;
    this.#status = new SharedStatus({ clock, read: options.status });
    this.#wholes = new SharedWholes({ clock, keptMs: WHOLE_KEPT_MS });
    this.#agents = new Hubs({
      open: (namespace) => new AgentHub({ namespace, clock, directory, observations, counts }),
    });
    this.#tasks = new Hubs({
      open: (namespace, wake) =>
        new TaskHub({ namespace, clock, tasks: tasks.view, reader: tasks.reader, wake }),
      close: (hub) => hub.close(),
    });
    this.#operations = new Hubs({
      open: (namespace) =>
        new OperationHub({ namespace, clock, operations: operations.view, reader: operations.reader }),
    });
    directory.listen({
      changed: (before, after) => {
        const { namespace = '' } = after ?? before ?? {};
        const hub = this.#agents.get(namespace);
        if (hub === undefined) return;
        hub.changed(before, after);
        this.#agents.wake(namespace);
      },
    });
    operations.view.listen((namespace) => {
      this.#operations.get(namespace)?.touch();
      this.#operations.wake(namespace);
    });
  }

  /** `json`: the caller reads JSON. @throws DomainError SLOW_CONSUMER */
  watch(
    request: WatchLiveRequest,
    json: boolean,
    signal: AbortSignal,
  ): AsyncGenerator<WatchLiveResponse, void, undefined> {
    const { clock, log, replicaId } = this.#options;
    const { minInterval } = request;
    const intervalMs = minInterval === undefined ? DEFAULT_INTERVAL_MS : msFromDuration(minInterval);
    const open = (wake: () => void): LivePart[] => {
      const context: PartContext = { namespace: namespaceOf(request), json, intervalMs, wake };
      return request.parts.flatMap((part) => this.#open(part, request, context) ?? []);
    };
    return watchLive({ clock, replicaId, log, json, open }, signal);
  }

  /** Namespaces of which something is kept for those that watch. */
  watched(): string[] {
    return [this.#agents, this.#tasks, this.#operations, this.#status].flatMap((hubs) => hubs.namespaces());
  }

  #open(part: WatchLiveRequest_Part, request: WatchLiveRequest, context: PartContext): LivePart | undefined {
    const { clock, views, events, usage, topology, alerts } = this.#options;
    const { namespace, wake } = context;
    switch (part) {
      case Part.STATUS:
        return new StatusPart({ ...context, clock, ...this.#status.join(namespace) });
      case Part.AGENTS:
        return this.#openAgents(request, context);
      case Part.EVENTS:
        return new EventsPart({
          ...{ ...context, views, log: events, shared: this.#events },
          filter: request.eventFilter,
          recent: request.recentEvents,
        });
      case Part.TASKS:
        return new FeedPart({ ...context, ...this.#tasks.join(namespace, wake), shape: TASKS_SHAPE, clock });
      case Part.OPERATIONS:
        return new FeedPart({
          ...{ ...context, ...this.#operations.join(namespace, wake) },
          ...{ shape: OPERATIONS_SHAPE, clock },
        });
      case Part.USAGE:
        return new WholePart({
          ...{ ...context, part, case: 'usage', clock, everyMs: USAGE_EVERY_MS },
          read: () => this.#wholes.get(`usage/${namespace}`, () => wholeUsage(usage, namespace)),
        });
      case Part.TRAFFIC: {
        const { agentIds } = request;
        const scope = { namespace, agentIds, selector: '', groupBy: '', maxNodes: 0 };
        return new WholePart({
          ...{ ...context, part, case: 'topology', clock, everyMs: TOPOLOGY_EVERY_MS },
          read: () =>
            this.#wholes.get(`topology/${namespace}/${agentIds.join('/')}`, () =>
              wholeTopology(topology, scope),
            ),
        });
      }
      case Part.ALERTS: {
        const open = (signal: AbortSignal) => alerts(namespace, signal);
        return new PulledPart({ ...context, part, case: 'alerts', open });
      }
      default:
        return undefined;
    }
  }

  #openAgents({ agentIds }: WatchLiveRequest, context: PartContext): LivePart {
    const { clock, directory, observations, counts } = this.#options;
    if (agentIds.length > 0) {
      return new NamedAgentsPart({ ...context, agentIds, clock, directory, observations, counts });
    }
    return new AgentsPart({ ...context, ...this.#agents.join(context.namespace, context.wake), clock });
  }
}
