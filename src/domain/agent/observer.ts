import { create } from '@bufbuild/protobuf';
import { type Observer, ObserverSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { durationFromMs } from '../../lib/proto-time.ts';
import type { TroubleEvidence } from './care/troubles.ts';

/** What the replica knows of its own condition: it doubts itself before it doubts an agent. */
export interface SelfWatch {
  /** How long this process stood still between two monotonic instants, milliseconds. */
  stallMs(fromMs: number, toMs: number): number;
  /** The longest event-loop delay in the last ten seconds, milliseconds. */
  eventLoopDelayMs(): number;
  storeAvailable(): boolean;
}

/** Silence that counts against an agent: without the time in which we could not have heard it. */
export function silenceMs(self: SelfWatch, sinceMs: number, nowMs: number): number {
  return Math.max(0, nowMs - sinceMs - self.stallMs(sinceMs, nowMs));
}

/** The observer's condition as evidence of a verdict. */
export function observerEvidence(
  self: SelfWatch,
  sinceMs: number,
  nowMs: number,
  trouble: TroubleEvidence,
): Observer {
  return create(ObserverSchema, {
    eventLoopDelay: durationFromMs(self.eventLoopDelayMs()),
    ownStall: durationFromMs(self.stallMs(sinceMs, nowMs)),
    storeAvailable: self.storeAvailable(),
    shareInTrouble: trouble.shareInTrouble,
    zoneShareInTrouble: trouble.zoneShareInTrouble,
    agents: trouble.agents,
  });
}
