import { type JsonObject, toJson } from '@bufbuild/protobuf';
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { type Alert, AlertSchema } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  type Event,
  EventSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { Notice, Told } from './ports.ts';

/** A CloudEvent 1.0.2 in the JSON event format. `source` and `id` together are the same each time that it is sent. */
export interface CloudEvent {
  specversion: '1.0';
  id: string;
  source: string;
  type: string;
  /** What it is about; absent: the whole namespace. */
  subject?: string;
  /** RFC 3339, UTC. */
  time: string;
  datacontenttype: 'application/json';
  /** The alert or the event as JSON, as the API tells it. */
  data: JsonObject;
}

const TYPES = 'mycosoft.orchestrator';

/** Where it comes from: the same from whichever replica. */
const sourceOf = (namespace: string): string => `/mycosoft/orchestrator/${encodeURIComponent(namespace)}`;

/** What a sink is to be told of an alert. */
export function noticeOf(alert: Alert, what: Told): Notice {
  const time = (what === 'resolved' ? alert.resolveTime : alert.fireTime) ?? alert.startTime;
  return {
    what,
    alert,
    event: {
      specversion: '1.0',
      id: `${alert.id}/${what}`,
      source: sourceOf(alert.namespace),
      type: `${TYPES}.alert.${what}`,
      subject: alert.rule,
      time: rfc3339(time),
      datacontenttype: 'application/json',
      data: toJson(AlertSchema, alert) as JsonObject,
    },
  };
}

/**
 * Something that happened, for a feed. Its id has the time by the store's clock in it: after the loss of the latest commits
 * revisions begin anew, and ids of events with them.
 */
export function feedEventOf(event: Event, storeMs: number): CloudEvent {
  return {
    specversion: '1.0',
    id: `${event.namespace}/${storeMs}/${event.id}`,
    source: sourceOf(event.namespace),
    type: `${TYPES}.event.${event.type}`,
    ...(event.agentId === '' ? {} : { subject: event.agentId }),
    time: rfc3339(event.time),
    datacontenttype: 'application/json',
    data: toJson(EventSchema, event) as JsonObject,
  };
}

const rfc3339 = (time: Timestamp | undefined): string =>
  new Date(time === undefined ? 0 : msFromTimestamp(time)).toISOString();
