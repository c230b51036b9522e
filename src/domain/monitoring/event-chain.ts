import { create } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type Event,
  type GetEventRequest,
  type GetEventResponse,
  GetEventResponseSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { DomainError } from '../../lib/errors.ts';
import type { Store } from '../../state/store.ts';
import { namespaceOf } from '../namespaces.ts';
import { EVENT_SERIES, readEvent } from './events.ts';

const MAX_CAUSES = 32;
const MAX_CONSEQUENCES = 256;
/** Later events that are looked at for consequences. */
const MAX_SCANNED = 20_000;
const CHUNK = 500;

/** Places have 32 bits in every store. */
const LAST_INDEX = 0xffff_ffff;

/** An event's place in the series, from its id "<revision>-<index>". */
const PLACE = /^(\d{1,18})-(\d{1,9})$/;

/**
 * One event with what led to it and what came of it. A cause is older than its event, so that the series is walked once:
 * back from cause to cause, and forward collecting what names any of those found so far.
 * @throws DomainError EVENT_NOT_FOUND
 */
export async function eventChain(store: Store, request: GetEventRequest): Promise<GetEventResponse> {
  const namespace = namespaceOf(request);
  const event = await eventAt(store, namespace, request.eventId);
  if (event === undefined) {
    throw new DomainError({
      reason: ErrorReason.EVENT_NOT_FOUND,
      message: `there is no event ${request.eventId} in namespace ${namespace}, or it is not kept any more`,
    });
  }
  const causes = await causesOf(store, event);
  const { consequences, truncated } = await consequencesOf(store, event);
  return create(GetEventResponseSchema, { event, causes, consequences, truncated });
}

/** Nearest first. */
async function causesOf(store: Store, event: Event): Promise<Event[]> {
  const causes: Event[] = [];
  let last = event;
  while (causes.length < MAX_CAUSES && last.causeId !== '') {
    const cause = await eventAt(store, event.namespace, last.causeId);
    if (cause === undefined || !isBefore(cause, last)) break;
    causes.push(cause);
    last = cause;
  }
  return causes;
}

/** Oldest first. */
async function consequencesOf(
  store: Store,
  event: Event,
): Promise<{ consequences: Event[]; truncated: boolean }> {
  const chain = new Set([event.id]);
  const consequences: Event[] = [];
  const place = placeOf(event.id);
  if (place === undefined) return { consequences, truncated: false };
  let after = place;
  for (let scanned = 0; scanned < MAX_SCANNED; ) {
    const entries = await store.readSeries(event.namespace, EVENT_SERIES, { after, limit: CHUNK });
    for (const entry of entries) {
      const later = readEvent(event.namespace, entry, entry.value);
      if (later.causeId === '' || !chain.has(later.causeId)) continue;
      if (consequences.length === MAX_CONSEQUENCES) return { consequences, truncated: true };
      chain.add(later.id);
      consequences.push(later);
    }
    const last = entries.at(-1);
    if (last === undefined || entries.length < CHUNK) return { consequences, truncated: false };
    scanned += entries.length;
    after = { revision: last.revision, index: last.index };
    // The store may answer from memory: pings of agents must not wait for the whole scan.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { consequences, truncated: true };
}

async function eventAt(store: Store, namespace: string, id: string): Promise<Event | undefined> {
  const place = placeOf(id);
  // Revisions begin at 1.
  if (place === undefined || place.revision === 0n) return undefined;
  const before =
    place.index > 0
      ? { revision: place.revision, index: place.index - 1 }
      : { revision: place.revision - 1n, index: LAST_INDEX };
  const [entry] = await store.readSeries(namespace, EVENT_SERIES, { after: before, limit: 1 });
  if (entry === undefined || entry.revision !== place.revision || entry.index !== place.index)
    return undefined;
  return readEvent(namespace, entry, entry.value);
}

function placeOf(id: string): { revision: bigint; index: number } | undefined {
  const [, revision, index] = PLACE.exec(id) ?? [];
  if (revision === undefined || index === undefined) return undefined;
  return { revision: BigInt(revision), index: Number(index) };
}

function isBefore(a: Event, b: Event): boolean {
  const [one, other] = [placeOf(a.id), placeOf(b.id)];
  if (one === undefined || other === undefined) return false;
  return one.revision < other.revision || (one.revision === other.revision && one.index < other.index);
}
