import { create } from '@bufbuild/protobuf';
import {
  HealthSchema,
  type Observation,
  ObservationSchema,
  type RoundTrip,
  RoundTripSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { durationFromMs, msFromTimestamp, timestampFromMs } from '../../lib/proto-time.ts';
import { type HealthParts, healthOf } from './health.ts';
import { silenceMs } from './observer.ts';
import type { RoundTrips } from './round-trips.ts';
import type { Session, SessionContext } from './session.ts';

/** An agent's health now, from its session on this replica. */
export function sessionHealth(session: Session, context: SessionContext, nowMs: number): HealthParts {
  return healthOf({
    connected: !session.ended,
    phi: session.phi(nowMs),
    suspectPhi: context.config.suspectPhi,
    activity: session.progress.activity,
    progressBudgetMs:
      session.report === undefined
        ? undefined
        : context.progressBudgetMs(session.namespace, session.agentId, session.progress.activity),
    sinceProgressMs: silenceMs(context.self, session.progress.movedMs, nowMs),
    load: session.report?.load,
  });
}

/** What this replica measures of a session, as of now. Its age is the time since the agent was heard last. */
export function observeSession(session: Session, context: SessionContext): Observation {
  const nowMs = context.clock.monoMs();
  const health = sessionHealth(session, context, nowMs);
  const observation = create(ObservationSchema, {
    observeTime: timestampFromMs(session.lastHeardWallMs),
    age: durationFromMs(Math.max(0, nowMs - session.lastHeardMs)),
    replicaId: context.replicaId,
    sessionEpoch: session.epoch,
    instanceId: session.instanceId,
    peer: session.peer,
    attachTime: timestampFromMs(session.attachWallMs),
    health: create(HealthSchema, health),
    heartbeats: BigInt(session.heartbeats),
    missed: BigInt(session.probes.missed),
    phi: session.phi(nowMs),
    client: session.client,
  });
  const roundTrip = roundTripOf(session.roundTrips);
  if (roundTrip !== undefined) observation.roundTrip = roundTrip;
  const offsetMs = session.clockOffset?.valueMs;
  if (offsetMs !== undefined) observation.clockOffset = durationFromMs(offsetMs);
  if (session.report !== undefined) {
    observation.report = session.report;
    observation.reportTime = timestampFromMs(session.reportWallMs);
  }
  return observation;
}

/** An observation by another replica, or from an earlier session: its age grows, and nobody is connected here. */
export function agedObservation(stored: Observation, wallMs: number, attached: boolean): Observation {
  const observation = Object.assign(create(ObservationSchema), stored);
  const seenMs = stored.observeTime === undefined ? wallMs : msFromTimestamp(stored.observeTime);
  observation.age = durationFromMs(Math.max(0, wallMs - seenMs));
  if (!attached) {
    const health = Object.assign(create(HealthSchema), stored.health);
    health.score = 0;
    health.connected = 0;
    health.responsive = 0;
    health.reasons = ['no open session'];
    observation.health = health;
  }
  return observation;
}

function roundTripOf(roundTrips: RoundTrips): RoundTrip | undefined {
  const summary = roundTrips.summary();
  if (summary === undefined) return undefined;
  return create(RoundTripSchema, {
    last: durationFromMs(summary.lastMs),
    smoothed: durationFromMs(summary.smoothedMs),
    variation: durationFromMs(summary.variationMs),
    p50: durationFromMs(summary.p50Ms),
    p95: durationFromMs(summary.p95Ms),
    p99: durationFromMs(summary.p99Ms),
    samples: summary.samples,
  });
}
