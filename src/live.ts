import { create } from '@bufbuild/protobuf';
import type { WatchAlertsResponse } from '../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  type WatchAlertsRequest,
  WatchAlertsRequestSchema,
} from '../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import type { SystemStatus } from '../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { EventLog } from './domain/monitoring/event-log.ts';
import { LiveStreams } from './domain/monitoring/live/live-streams.ts';
import { Topology } from './domain/monitoring/topology/topology.ts';
import type { Fleet } from './fleet.ts';
import type { Clock } from './lib/clock.ts';
import type { Logger } from './lib/logger.ts';

export interface LiveOptions {
  replicaId: string;
  clock: Clock;
  log: Logger;
  fleet: Fleet;
  events: EventLog;
  status(namespace: string): SystemStatus;
  alerting: { watch(request: WatchAlertsRequest, signal: AbortSignal): AsyncIterable<WatchAlertsResponse> };
}

/** The topology, and the one stream that a page shows it and all else from, wired together. */
export function createLive({ replicaId, clock, log, fleet, events, status, alerting }: LiveOptions) {
  const topology = new Topology({
    clock,
    views: fleet.views,
    directory: fleet.directory,
    links: fleet.coordination.traffic.counts,
    health: (known) => fleet.observations.health(known),
    storeMs: () => fleet.storeTime.ms(),
  });
  const live = new LiveStreams({
    ...{ clock, log, replicaId, events, topology, status },
    ...{ views: fleet.views, directory: fleet.directory, observations: fleet.observations },
    counts: {
      deliveries: (namespace, agentId) => fleet.mailboxes.count(namespace, agentId),
      tasks: (namespace, agentId) => fleet.tasks.view.on(namespace, agentId).size,
    },
    tasks: { view: fleet.tasks.view, reader: fleet.tasks.reader },
    operations: fleet.coordination.operations,
    usage: fleet.resources.usage,
    alerts: (namespace, signal) =>
      alerting.watch(create(WatchAlertsRequestSchema, { namespace, withResolved: true }), signal),
  });
  return { live, topology };
}
