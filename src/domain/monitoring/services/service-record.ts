import { create, fromBinary } from '@bufbuild/protobuf';
import {
  type ServiceStatus,
  ServiceStatus_State,
  ServiceStatusSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { ServiceRecordSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import { durationFromMs, msFromDuration, msFromTimestamp, timestampFromMs } from '../../../lib/proto-time.ts';
import { shownUrl } from '../../../lib/shown-url.ts';
import { share } from './availability.ts';
import { isStale, type Judged } from './judge.ts';
import type { ServiceConfig } from './ports.ts';

const PREFIX = 'service/';

export const serviceKey = (name: string): string => PREFIX + name;

/** The service that a record is of; undefined: it is of something else. */
export const serviceOfKey = (key: string): string | undefined =>
  key.startsWith(PREFIX) ? key.slice(PREFIX.length) : undefined;

/** What is known of a service, and who asked it. */
export interface Asked {
  judged: Judged;
  replicaId: string;
}

export function encodeService(service: ServiceConfig, { judged, replicaId }: Asked): Uint8Array {
  const { availability, streak, finding } = judged;
  const record = create(ServiceRecordSchema, {
    status: publicPart(service, judged, replicaId),
    minute: BigInt(availability.minute),
    asked: [...availability.asked],
    answered: [...availability.answered],
    streak,
    streakState: finding,
  });
  return encode(ServiceRecordSchema, record);
}

export function decodeService(value: Uint8Array): Asked {
  const { status, minute, asked, answered, streak, streakState } = fromBinary(ServiceRecordSchema, value);
  const { UNSPECIFIED, OK, SLOW, DOWN } = ServiceStatus_State;
  const state = status?.state ?? UNSPECIFIED;
  const known = (value: ServiceStatus_State): Judged['state'] =>
    ([OK, SLOW, DOWN] as const).find((one) => one === value) ?? UNSPECIFIED;
  const judged: Judged = {
    state: known(state),
    sinceMs: status?.since === undefined ? 0 : msFromTimestamp(status.since),
    streak,
    finding: known(streakState),
    failures: status?.failures ?? 0,
    probeMs: status?.probeTime === undefined ? 0 : msFromTimestamp(status.probeTime),
    latencyMs: status?.latency === undefined ? undefined : msFromDuration(status.latency),
    detail: status?.detail ?? '',
    availability: { minute: Number(minute), asked, answered },
  };
  return { judged, replicaId: status?.replicaId ?? '' };
}

/** A service as callers see it. */
export function statusOf(service: ServiceConfig, asked: Asked | undefined, nowMs: number): ServiceStatus {
  if (asked === undefined || asked.judged.probeMs === 0) {
    return create(ServiceStatusSchema, {
      ...identity(service),
      detail: 'it was not asked yet',
      availability: 1,
    });
  }
  const { judged, replicaId } = asked;
  const status = publicPart(service, judged, replicaId);
  const ageMs = Math.max(0, nowMs - judged.probeMs);
  status.age = durationFromMs(ageMs);
  status.availability = share(judged.availability, nowMs) ?? 1;
  if (isStale(judged, service, nowMs)) {
    status.state = ServiceStatus_State.STALE;
    status.detail = `nobody has asked it for ${Math.round(ageMs / 1000)} s`;
  }
  return status;
}

const identity = (service: ServiceConfig) => ({
  name: service.name,
  probe: service.probe,
  target: shownUrl(service.target, { path: true }),
});

function publicPart(service: ServiceConfig, judged: Judged, replicaId: string): ServiceStatus {
  const { state, sinceMs, probeMs, latencyMs, detail, failures, availability } = judged;
  return create(ServiceStatusSchema, {
    ...identity(service),
    ...{ state, detail, failures, replicaId },
    availability: share(availability, probeMs) ?? 1,
    probeTime: timestampFromMs(probeMs),
    ...(latencyMs === undefined ? {} : { latency: durationFromMs(latencyMs) }),
    ...(sinceMs === 0 ? {} : { since: timestampFromMs(sinceMs) }),
  });
}
