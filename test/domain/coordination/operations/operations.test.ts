import { describe, expect, it } from 'vitest';
import { Agent_Phase } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { DeliveryUpdate_State } from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  AgentOutcome_State,
  Operation_State,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { agentOf } from '../../../../src/domain/agent/record.ts';
import { fleet, useFleet } from '../../agent/conversation-fixture.ts';
import { Crew, declines, get, resume, standing, start } from './operation-fixture.ts';

useFleet();

const { DONE, FAILED } = AgentOutcome_State;
const count = (value: number) => ({ amount: { case: 'count' as const, value } });
const phase = (id: string) => {
  const record = fleet.record(id);
  return record && agentOf(record).phase;
};
const operationEvents = () => fleet.types().filter((type) => type.startsWith('operation.'));

describe('a custom command', () => {
  it('goes to everybody in waves, and what they answer is kept', async () => {
    const crew = await Crew.of(6, () => ({
      state: DeliveryUpdate_State.SUCCEEDED,
      more: { output: { data: { case: 'text', value: 'fine' } } },
    }));
    const { operation } = await start({ command: 'check', wave: count(2) });
    await crew.work();
    const { operation: ended, agents } = await get(operation.id);
    expect(ended).toMatchObject({ state: Operation_State.SUCCEEDED, waves: 3, wave: 3, agents: 6 });
    expect(ended.counts).toMatchObject([{ state: DONE, count: 6 }]);
    expect(agents.map(({ wave }) => wave)).toEqual([1, 1, 2, 2, 3, 3]);
    for (const agent of agents) {
      expect(agent).toMatchObject({ state: DONE, verified: true, tries: 1 });
      expect(agent.output?.data).toEqual({ case: 'text', value: 'fine' });
    }
    expect(operationEvents()).toEqual([
      'operation.started',
      'operation.wave_done',
      'operation.wave_done',
      'operation.wave_done',
      'operation.ended',
    ]);
  });

  it('stops at the error limit, names who failed, and goes on when it is resumed', async () => {
    const crew = await Crew.of(6);
    crew.set(['c02', 'c03'], declines);
    const { operation } = await start({ command: 'check', wave: count(2), maxErrors: count(1) });
    await crew.work();
    const stopped = await get(operation.id);
    expect(stopped.operation.state).toBe(Operation_State.STOPPED);
    expect(stopped.operation.detail).toBe(
      '2 failed, more than 1: c02 (it declined: not me), c03 (it declined: not me)',
    );
    expect(standing(stopped.agents)).toEqual([
      'c00 done',
      'c01 done',
      'c02 failed',
      'c03 failed',
      'c04 waiting',
      'c05 waiting',
    ]);
    crew.set(['c02', 'c03'], () => ({ state: DeliveryUpdate_State.SUCCEEDED }));
    await resume(operation.id, { retryFailed: true });
    await crew.work();
    const ended = await get(operation.id);
    expect(ended.operation.state).toBe(Operation_State.SUCCEEDED);
    expect(ended.agents.map(({ tries }) => tries)).toEqual([1, 1, 2, 2, 1, 1]);
    expect(crew.commands('c00')).toEqual(['check']);
    expect(crew.commands('c02')).toEqual(['check', 'check']);
  });
});

describe("the service's own commands", () => {
  it('drains through the order path, and believes an agent only that says so', async () => {
    const crew = await Crew.of(3);
    const { operation } = await start({ command: 'drain', maxErrors: count(3) });
    await crew.work();
    const { agents } = await get(operation.id);
    expect(standing(agents)).toEqual(['c00 done', 'c01 done', 'c02 done']);
    expect(agents.every(({ verified }) => verified)).toBe(true);
    expect(phase('c00')).toBe(Agent_Phase.DRAINED);
    expect(FAILED).toBeDefined();
  });
});
