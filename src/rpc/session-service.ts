import { SessionService } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { PollSessions } from '../domain/agent/poll-sessions.ts';
import type { SessionProtocolOptions } from '../domain/agent/session-ports.ts';
import { StreamCarrier } from '../domain/agent/stream-carrier.ts';
import type { Clock } from '../lib/clock.ts';
import type { TimingWheel } from '../lib/timing-wheel.ts';
import { bindService, type ServiceBinding } from './service.ts';

export interface SessionServiceOptions {
  protocol: SessionProtocolOptions;
  polls: PollSessions;
  clock: Clock;
  wheel: TimingWheel;
  /** Hello must come within this time. */
  helloTimeoutMs: number;
  /** What may be on its way to one agent. */
  windowBytes: number;
}

export function createSessionService(options: SessionServiceOptions): ServiceBinding {
  const { polls, ...carrier } = options;
  return bindService(SessionService, {
    openSession: (channel, context) =>
      new StreamCarrier({ ...carrier, channel, token: context.principal.token }),
    pollSession: (request, context) =>
      polls.poll(request, { token: context.principal.token, peer: context.peer }, context.signal),
  });
}
