import { create } from '@bufbuild/protobuf';
import {
  HealthSchema,
  type Observation,
  ObservationSchema,
  type Report,
  ReportSchema,
  RoundTripSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type ObservationRecord,
  ObservationRecordSchema,
} from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { durationFromMs, timestampFromMs } from '../../lib/proto-time.ts';
import { type HealthParts, healthOf } from './health.ts';
import { silenceMs } from './observer.ts';
import type { Session } from './session.ts';
import type { SessionContext } from './session-context.ts';

/** An agent's health now, from its session on this replica. */
export function sessionHealth(session: Session, context: SessionContext, nowMs: number): HealthParts {
  const reported = session.report !== undefined;
  const { activity, movedMs } = session.progress;
  return healthOf({
    connected: true,
    phi: session.phi(nowMs),
    suspectPhi: context.config.suspectPhi,
    activity,
    progressBudgetMs: reported
      ? context.progressBudgetMs(session.namespace, session.agentId, activity)
      : undefined,
    sinceProgressMs: silenceMs(context.self, movedMs, nowMs),
    load: session.report?.load,
  });
}

/** What this replica measures of a session, as of now. */
export function readSession(session: Session, context: SessionContext): ObservationRecord {
  const nowMs = context.clock.monoMs();
  const health = sessionHealth(session, context, nowMs);
  const record = create(ObservationRecordSchema);
  record.observeMs = session.lastHeardWallMs;
  record.replicaId = context.replicaId;
  record.sessionEpoch = session.epoch;
  record.instanceId = session.instanceId;
  record.peer = session.peer;
  record.attachMs = session.attachWallMs;
  record.client = session.client;
  record.responsive = health.responsive;
  record.progressing = health.progressing;
  record.headroom = health.headroom;
  record.reasons = health.reasons;
  record.heartbeats = session.heartbeats;
  record.missed = session.probes.missed;
  record.phi = session.phi(nowMs);
  const trips = session.roundTrips.summary();
  if (trips !== undefined) {
    record.rttSamples = trips.samples;
    record.rttLastMs = trips.lastMs;
    record.rttSmoothedMs = trips.smoothedMs;
    record.rttVariationMs = trips.variationMs;
    record.rttP50Ms = trips.p50Ms;
    record.rttP95Ms = trips.p95Ms;
    record.rttP99Ms = trips.p99Ms;
  }
  const offsetMs = session.clockOffset?.valueMs;
  if (offsetMs !== undefined) record.clockOffsetMs = offsetMs;
  if (session.report !== undefined) {
    record.report = session.report;
    record.reportMs = session.reportWallMs;
  }
  return record;
}

/**
 * What a table of thousands shows of a session: how it is, without where it comes from and what it works on in detail. Made
 * without a record in between, at a fraction of the cost.
 */
export function briefObservation(session: Session, context: SessionContext): Observation {
  const nowMs = context.clock.monoMs();
  const { score, connected, responsive, progressing, headroom, reasons } = sessionHealth(
    session,
    context,
    nowMs,
  );
  const brief = create(ObservationSchema);
  brief.observeTime = timestampFromMs(session.lastHeardWallMs);
  brief.age = durationFromMs(Math.max(0, nowMs - session.lastHeardMs));
  brief.replicaId = context.replicaId;
  brief.sessionEpoch = session.epoch;
  brief.attachTime = timestampFromMs(session.attachWallMs);
  brief.heartbeats = BigInt(session.heartbeats);
  brief.missed = BigInt(session.probes.missed);
  brief.phi = session.phi(nowMs);
  brief.health = Object.assign(create(HealthSchema), {
    ...{ score, connected, responsive, progressing, headroom, reasons },
  });
  const trips = session.roundTrips.summary();
  if (trips !== undefined) {
    const roundTrip = create(RoundTripSchema);
    roundTrip.smoothed = durationFromMs(trips.smoothedMs);
    roundTrip.p50 = durationFromMs(trips.p50Ms);
    roundTrip.p95 = durationFromMs(trips.p95Ms);
    roundTrip.samples = trips.samples;
    brief.roundTrip = roundTrip;
  }
  const offsetMs = session.clockOffset?.valueMs;
  if (offsetMs !== undefined) brief.clockOffset = durationFromMs(offsetMs);
  if (session.report !== undefined) {
    brief.report = briefReport(session.report);
    brief.reportTime = timestampFromMs(session.reportWallMs);
  }
  return brief;
}

/** The same of a whole reading. */
export function briefOf(observation: Observation): Observation {
  const brief = Object.assign(create(ObservationSchema), observation);
  Object.assign(brief, { instanceId: '', peer: '', client: '' });
  if (observation.report !== undefined) brief.report = briefReport(observation.report);
  return brief;
}

function briefReport({ activity, usage, load }: Report): Report {
  const report = create(ReportSchema);
  report.activity = activity;
  report.usage = usage;
  if (load !== undefined) report.load = load;
  return report;
}

/**
 * A reading as callers see it.
 * @param ageMs how old it is now
 * @param attached whether the session that it is of still stands; without one an agent has no health
 */
export function observationOf(record: ObservationRecord, ageMs: number, attached: boolean): Observation {
  const connected = attached ? 1 : 0;
  const observation = create(ObservationSchema, {
    observeTime: timestampFromMs(record.observeMs),
    age: durationFromMs(Math.max(0, ageMs)),
    replicaId: record.replicaId,
    sessionEpoch: record.sessionEpoch,
    instanceId: record.instanceId,
    peer: record.peer,
    attachTime: timestampFromMs(record.attachMs),
    health: create(HealthSchema, {
      score: connected * record.responsive * record.progressing * record.headroom,
      connected,
      responsive: connected * record.responsive,
      progressing: record.progressing,
      headroom: record.headroom,
      reasons: attached ? record.reasons : ['no open session'],
    }),
    heartbeats: BigInt(record.heartbeats),
    missed: BigInt(record.missed),
    phi: record.phi,
    client: record.client,
  });
  if (record.rttSamples > 0) {
    observation.roundTrip = create(RoundTripSchema, {
      last: durationFromMs(record.rttLastMs),
      smoothed: durationFromMs(record.rttSmoothedMs),
      variation: durationFromMs(record.rttVariationMs),
      p50: durationFromMs(record.rttP50Ms),
      p95: durationFromMs(record.rttP95Ms),
      p99: durationFromMs(record.rttP99Ms),
      samples: record.rttSamples,
    });
  }
  if (record.clockOffsetMs !== undefined) observation.clockOffset = durationFromMs(record.clockOffsetMs);
  if (record.report !== undefined) {
    observation.report = record.report;
    observation.reportTime = timestampFromMs(record.reportMs);
  }
  return observation;
}
