import { create, fromBinary } from '@bufbuild/protobuf';
import type { Verdict } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type Event,
  type Event_Severity,
  EventSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { encode } from '../../lib/encode.ts';
import { timestampFromMs } from '../../lib/proto-time.ts';
import type { Append } from '../../state/store.ts';

/** The series that holds a namespace's events; written in the commits that cause them. */
export const EVENT_SERIES = 'events';

/** An event before it is stored; its id and revision come from the commit. */
export interface NewEvent {
  /** A dotted name from docs/events.md. */
  type: string;
  severity: Event_Severity;
  /** For people, in a sentence. */
  message: string;
  /** A principal, "rule:<name>" or "replica:<id>". */
  actor: string;
  agentId?: string;
  causeId?: string;
  verdict?: Verdict;
  attributes?: Record<string, string>;
}

/** Turns events into appends of a commit. */
export class EventWriter {
  readonly #options: { replicaId: string; wallMs: () => number };

  constructor(options: { replicaId: string; wallMs: () => number }) {
    this.#options = options;
  }

  append(event: NewEvent): Append {
    // Assigned field by field: create() with values looks each of them up, and every commit has an event.
    const message = create(EventSchema);
    message.time = timestampFromMs(this.#options.wallMs());
    message.type = event.type;
    message.severity = event.severity;
    message.message = event.message;
    message.actor = event.actor;
    message.agentId = event.agentId ?? '';
    message.causeId = event.causeId ?? '';
    message.replicaId = this.#options.replicaId;
    if (event.attributes !== undefined) message.attributes = event.attributes;
    if (event.verdict !== undefined) message.verdict = event.verdict;
    return { series: EVENT_SERIES, value: encode(EventSchema, message) };
  }
}

/** An event as callers see it, from its entry and its place in the series. */
export function readEvent(
  namespace: string,
  place: { revision: bigint; index: number },
  value: Uint8Array,
): Event {
  const event = fromBinary(EventSchema, value);
  event.namespace = namespace;
  event.id = `${place.revision}-${place.index}`;
  event.revision = place.revision;
  return event;
}
