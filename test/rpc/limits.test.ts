import { expect, test } from 'vitest';
import { AgentService } from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { SessionService } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { Limits } from '../../src/rpc/interceptors/limits.ts';

test('agents that poll leave the other calls their places, and are bounded by the limit of sessions', () => {
  const limits = new Limits({ maxUnaryInFlight: 1, maxWatches: 1, maxSessions: 2 });
  const poll = () => limits.enterUnary(SessionService.typeName);
  poll();
  poll();
  expect(poll).toThrow('2 polls are under way');
  limits.enterUnary(AgentService.typeName);
  expect(() => limits.enterUnary(AgentService.typeName)).toThrow('1 calls are under way');
  limits.leaveUnary(AgentService.typeName);
  limits.leaveUnary(SessionService.typeName);
  poll();
  limits.enterUnary(AgentService.typeName);
  expect(limits.unaryInFlight).toBe(1);
});
