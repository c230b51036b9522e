import type {
  SystemStatus,
  WatchLiveRequest,
  WatchLiveResponse,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { WatchLiveRequest_Part } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/logger.ts';
import { msFromDuration } from '../../../lib/proto-time.ts';
import type { Views } from '../../../state/views.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import type { Observations } from '../../agent/observations.ts';
import { namespaceOf } from '../../namespaces.ts';
import type { EventLog } from '../event-log.ts';
import { type AgentCounts, AgentHub } from './agent-hub.ts';
import { AgentsPart } from './agents-part.ts';
import { EventsPart, SharedEvents } from './events-part.ts';
import type { LivePart, PartContext } from './live-part.ts';
import { NamedAgentsPart } from './named-agents-part.ts';
import { SharedStatus, StatusPart } from './status-part.ts';
import { watchLive } from './watch-live.ts';

export interface LiveStreamsOptions {
  clock: Clock;
  log: Logger;
  replicaId: string;
  views: Views;
  directory: AgentDirectory;
  observations: Observations;
  counts: AgentCounts;
  events: EventLog;
  status(namespace: string): SystemStatus;
}

const DEFAULT_INTERVAL_MS = 1000;

interface Hub {
  hub: AgentHub;
  /** To be woken when something about the agents changed. */
  wakers: Set<() => void>;
}

/** Serves live streams; what several of them show is made once for all. */
export class LiveStreams {
  readonly #options: LiveStreamsOptions;
  readonly #hubs = new Map<string, Hub>();
  readonly #events = new SharedEvents();
  readonly #status: SharedStatus;

  constructor(options: LiveStreamsOptions) {
    this.#options = options;
    this.#status = new SharedStatus({ clock: options.clock, read: options.status });
    options.directory.listen({
      changed: (before, after) => {
        const found = this.#hubs.get((after ?? before)?.namespace ?? '');
        if (found === undefined) return;
        found.hub.changed(before, after);
        for (const wake of found.wakers) wake();
      },
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
    return [...this.#hubs.keys()];
  }

  #open(part: WatchLiveRequest_Part, request: WatchLiveRequest, context: PartContext): LivePart | undefined {
    const { clock, views, events } = this.#options;
    switch (part) {
      case WatchLiveRequest_Part.STATUS:
        return new StatusPart({ ...context, clock, read: () => this.#status.get(request.namespace) });
      case WatchLiveRequest_Part.AGENTS:
        return this.#agents(request, context);
      case WatchLiveRequest_Part.EVENTS:
        return new EventsPart({
          ...{ ...context, views, log: events, shared: this.#events },
          filter: request.eventFilter,
          recent: request.recentEvents,
        });
      default:
        return undefined;
    }
  }

  #agents({ agentIds }: WatchLiveRequest, context: PartContext): LivePart {
    const { clock, directory, observations, counts } = this.#options;
    const { namespace, wake } = context;
    if (agentIds.length > 0) {
      return new NamedAgentsPart({ ...context, agentIds, clock, directory, observations, counts });
    }
    let found = this.#hubs.get(namespace);
    if (found === undefined) {
      const hub = new AgentHub({ namespace, clock, directory, observations, counts });
      found = { hub, wakers: new Set() };
      this.#hubs.set(namespace, found);
    }
    const { hub, wakers } = found;
    wakers.add(wake);
    const closed = (): void => {
      wakers.delete(wake);
      if (wakers.size === 0 && this.#hubs.get(namespace)?.hub === hub) this.#hubs.delete(namespace);
    };
    return new AgentsPart({ ...context, hub, clock, closed });
  }
}
