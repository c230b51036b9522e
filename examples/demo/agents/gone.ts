import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { AgentService } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type { AgentHandle } from '../../../src/client/index.ts';
import { attach, labels, pause, type Simulation, type Spec, untilStop, type World } from '../simulation.ts';

/** Drops its connection every few seconds and comes back. */
export const flapping: Simulation = {
  id: 'flapping-1',
  shows: 'flapping: DISCONNECTED and CONNECTED in turns',
  run: (world) =>
    comeAndGo(world, 'flapping-1', spec('crawler'), async (agent) => {
      world.say('connected for 6 s');
      await pause(6, world);
      if (world.stop.aborted) return;
      await agent.close();
      world.say('dropped its connection, back in 3 s');
      await pause(3, world);
    }),
};

/** Dies without a goodbye, stays away past lease and grace, and is restarted much later. */
export const dying: Simulation = {
  id: 'dying-1',
  shows: 'dying: DISCONNECTED, then LOST, then back with a new epoch',
  run: (world) =>
    comeAndGo(world, 'dying-1', spec('trainer'), async (agent) => {
      world.say('alive for 20 s');
      await pause(20, world);
      if (world.stop.aborted) return;
      await agent.close();
      world.say('died without a goodbye, back in 60 s');
      await pause(60, world);
    }),
};

/** Says goodbye and comes back later. */
export const leaving: Simulation = {
  id: 'leaving-1',
  shows: 'leaving: says goodbye (LEFT) and comes back',
  run: (world) =>
    comeAndGo(world, 'leaving-1', spec('night-worker'), async (agent) => {
      world.say('at work for 15 s');
      await pause(15, world);
      if (world.stop.aborted) return;
      await agent.leave('shift over');
      world.say('said goodbye, back in 30 s');
      await pause(30, world);
    }),
};

/** Leaves, and asked to be forgotten soon after. */
export const visiting: Simulation = {
  id: 'visitor-1',
  shows: 'forget_after: deregistered 15 s after it left, later registered anew (another uid)',
  run: (world) =>
    comeAndGo(world, 'visitor-1', spec('batch', 15n), async (agent) => {
      world.say('on a visit for 10 s');
      await pause(10, world);
      if (world.stop.aborted) return;
      await agent.leave('visit over');
      world.say('left, to be forgotten after 15 s, back in 40 s');
      await pause(40, world);
    }),
};

/** Registered by a deployment, never started. */
export const unborn: Simulation = {
  id: 'unborn-1',
  shows: 'NEVER_SEEN: registered, and no session was ever opened',
  run: async (world) => {
    const client = createClient(AgentService, createGrpcTransport({ baseUrl: `http://${world.server}` }));
    const { namespace } = world;
    await client.registerAgent({ namespace, agentId: 'unborn-1', spec: spec('planned'), takeover: true });
    world.say('registered and never started');
    await untilStop(world);
    await client.deregisterAgent({ namespace, agentId: 'unborn-1', reason: 'the demo ended' });
  },
};

/** One life after the other; at the end of the demo the agent is attached once more, to say goodbye. */
async function comeAndGo(
  world: World,
  id: string,
  agentSpec: Spec,
  life: (agent: AgentHandle) => Promise<void>,
): Promise<void> {
  let token: string | undefined;
  while (!world.stop.aborted) {
    const agent = await attach(world, id, { spec: agentSpec, ...(token === undefined ? {} : { token }) });
    token = agent.token;
    await life(agent);
    if (world.stop.aborted) {
      const last = agent.state === 'closed' ? await returning(world, id, agentSpec, token) : agent;
      await last.leave('the demo ended');
    }
  }
}

function returning(world: World, id: string, agentSpec: Spec, token: string): Promise<AgentHandle> {
  return attach({ ...world, stop: AbortSignal.timeout(3_000) }, id, { spec: agentSpec, token });
}

function spec(kind: string, forgetAfterSeconds?: bigint): Spec {
  return {
    kind,
    labels: labels(),
    capabilities: [{ name: kind }],
    ...(forgetAfterSeconds === undefined ? {} : { forgetAfter: { seconds: forgetAfterSeconds } }),
  };
}
