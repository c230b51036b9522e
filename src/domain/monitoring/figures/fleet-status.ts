import { create } from '@bufbuild/protobuf';
import {
  type FleetStatus,
  FleetStatusSchema,
  LivenessCountSchema,
  PhaseCountSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { durationFromMs } from '../../../lib/proto-time.ts';
import type { WordCounts } from './agent-counts.ts';
import type { Merged } from './merged.ts';

/** @param nowMs monotonic */
export function fleetStatusOf({ liveness, phases }: WordCounts, merged: Merged, nowMs: number): FleetStatus {
  const { sums } = merged;
  const oldestMs = Number.isFinite(sums.oldestMs) ? Math.max(0, nowMs - sums.oldestMs) : 0;
  const status = create(FleetStatusSchema, {
    agents: [...liveness.values()].reduce((total, each) => total + each, 0),
    byLiveness: [...liveness]
      .sort(byKey)
      .map(([key, each]) => create(LivenessCountSchema, { liveness: key, count: each })),
    byPhase: [...phases]
      .sort(byKey)
      .map(([key, each]) => create(PhaseCountSchema, { phase: key, count: each })),
    oldestReading: durationFromMs(oldestMs),
  });
  const health = merged.health();
  const load = sums.meanLoad();
  const p50 = sums.medians.quantile(0.5);
  const p95 = sums.trips.quantile(0.95);
  if (health !== undefined) status.health = health;
  if (load !== undefined) status.load = load;
  if (p50 !== undefined) status.rttP50 = durationFromMs(p50);
  if (p95 !== undefined) status.rttP95 = durationFromMs(p95);
  return status;
}

const byKey = ([a]: readonly [number, number], [b]: readonly [number, number]): number => a - b;
