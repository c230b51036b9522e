import { describe, expect, it } from 'vitest';
import {
  type Delivery,
  DeliveryUpdate_State,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  type AgentOutcome,
  AgentOutcome_State,
  type Operation,
  Operation_State,
} from '../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { type Clients, connectClients } from '../support/clients.ts';
import { ReplicasRig } from '../support/replicas-rig.ts';
import { ReturningAgent } from '../support/returning-agent.ts';
import { ServiceProcess } from '../support/service.ts';
import { until } from '../support/until.ts';

/** `OPERATION_AGENTS=2000 npx vitest run --project servers test/e2e/operations.test.ts` */
const AGENTS = Number(process.env.OPERATION_AGENTS ?? 200);
const WAVES = 10;
const WAVE = AGENTS / WAVES;
/** The wave that fails, and the one in whose middle the service is killed. */
const BROKEN = 4;
const KILLED = 7;
const { DONE, FAILED, WAITING } = AgentOutcome_State;

/** What the agents did, and who of them is broken or holds back. */
class Workshop {
  /** Delivery ids that each agent carried out, once each however often it got them. */
  readonly doneBy = new Map<string, string[]>();
  broken = new Set<string>();
  /** Who answers only once this resolves. */
  heldBack: { id: string; until: Promise<void>; reached: () => void } | undefined;

  readonly answer = async (delivery: Delivery, agentId: string) => {
    if (delivery.item.case !== 'command') return undefined;
    if (this.heldBack?.id === agentId) {
      this.heldBack.reached();
      await this.heldBack.until;
    }
    const done = this.doneBy.get(agentId) ?? [];
    this.doneBy.set(agentId, done);
    const id = delivery.work?.deliveryId ?? '';
    if (!done.includes(id)) done.push(id);
    if (this.broken.has(agentId)) return { state: DeliveryUpdate_State.FAILED, error: 'no space left' };
    const output = { data: { case: 'text' as const, value: `hello from ${agentId}` } };
    return { state: DeliveryUpdate_State.SUCCEEDED, output };
  };
}

const percent = (value: number) => ({ amount: { case: 'percent' as const, value } });
const spec = { command: 'upgrade', filter: {}, wave: percent(WAVES), maxErrors: percent(5), reason: 'test' };

async function agentsOf(clients: Clients, operationId: string): Promise<AgentOutcome[]> {
  const all: AgentOutcome[] = [];
  for (let pageToken = ''; ; ) {
    const page = await clients.operations.getOperation({
      operationId,
      withAgents: true,
      pageSize: 1000,
      pageToken,
    });
    all.push(...page.agents);
    pageToken = page.nextPageToken;
    if (pageToken === '') return all;
  }
}

/** Follows an operation until it is as wanted. */
async function follow(clients: Clients, operationId: string, wanted: (operation: Operation) => boolean) {
  for await (const { operation } of clients.operations.watchOperation({ operationId })) {
    if (operation !== undefined && wanted(operation)) return operation;
  }
  throw new Error('the watch ended before');
}

const inWave = (agents: readonly AgentOutcome[], wave: number): string[] =>
  agents.filter((agent) => agent.wave === wave).map(({ agentId }) => agentId);

/** Starts an operation of which a wave fails; it stops, names who did what, and is resumed. */
async function untilResumed(clients: Clients, workshop: Workshop) {
  const { operations } = clients;
  const plan = (await operations.startOperation({ spec, dryRun: true })).agents;
  expect(plan).toHaveLength(AGENTS);
  for (let wave = 1; wave <= WAVES; wave += 1) expect(inWave(plan, wave)).toHaveLength(WAVE);
  workshop.broken = new Set(inWave(plan, BROKEN));

  const { operation: started } = await operations.startOperation({ spec, requestId: 'once' });
  const again = await operations.startOperation({ spec, requestId: 'once' });
  const id = started?.id ?? '';
  expect(again.operation?.id).toBe(id);
  const stopped = await follow(clients, id, ({ state }) => state === Operation_State.STOPPED);
  expect(stopped.wave).toBe(BROKEN);
  expect(stopped.detail).toContain('no space left');
  const at = (wave: number) => (wave < BROKEN ? DONE : wave === BROKEN ? FAILED : WAITING);
  const agents = await until(
    () => agentsOf(clients, id),
    (all) => all.every(({ wave, state }) => state === at(wave)),
    { what: 'the broken wave to have failed' },
  );
  expect(agents.map(({ agentId }) => agentId)).toEqual(plan.map(({ agentId }) => agentId));
  const { events } = await clients.monitoring.listEvents({ filter: { types: ['operation.stopped'] } });
  expect(events[0]?.message).toContain([...workshop.broken][0]);

  // The cause is gone. Somebody in a later wave holds back, so that the middle can be met.
  workshop.broken.clear();
  const held = inWave(plan, KILLED)[1] ?? '';
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const reached = new Promise<void>((resolve) => {
    workshop.heldBack = { id: held, until: released, reached: resolve };
  });
  await operations.resumeOperation({ operationId: id, retryFailed: true, reason: 'space was made' });
  await reached;
  return { id, plan, release };
}

/** All are done, and nobody carried out a try twice. */
function checkAll(id: string, agents: readonly AgentOutcome[], workshop: Workshop): void {
  for (const [place, agent] of agents.entries()) {
    const tries = agent.wave === BROKEN ? 2 : 1;
    expect(agent).toMatchObject({ state: DONE, verified: true, tries });
    expect(agent.output?.data).toEqual({ case: 'text', value: `hello from ${agent.agentId}` });
    const ids = Array.from({ length: tries }, (_, index) => `${id}.${place}.${index + 1}`);
    expect(workshop.doneBy.get(agent.agentId)).toEqual(ids);
  }
}

describe.concurrent(`an operation on ${AGENTS} agents in waves of 10 %, of which one fails`, () => {
  it('stops, is resumed, and goes on when the one of two replicas that runs it is killed in the middle', async () => {
    const rig = await ReplicasRig.start({ replicas: 2 });
    const workshop = new Workshop();
    try {
      await rig.attach(AGENTS, workshop.answer);
      const { id, release } = await untilResumed(rig.clients, workshop);
      const runs = rig.replicas.filter(({ logs }) =>
        logs.some(({ msg, namespace }) => msg.includes('looks after a namespace') && namespace === 'default'),
      );
      expect(runs).toHaveLength(1);
      const [killed] = runs;
      const survivor = rig.replicas.find((replica) => replica !== killed);
      if (killed === undefined || survivor === undefined) throw new Error('two replicas are needed');
      await killed.kill('SIGKILL');
      release();
      const clients = connectClients(survivor.grpc);
      try {
        const ended = await follow(clients, id, ({ endTime }) => endTime !== undefined);
        expect(ended.state).toBe(Operation_State.SUCCEEDED);
        expect(ended.counts).toMatchObject([{ state: DONE, count: AGENTS }]);
        checkAll(id, await agentsOf(clients, id), workshop);
      } finally {
        clients.close();
      }
    } finally {
      await rig.stop();
    }
  });

  it('stops, is resumed, and goes on when the only replica, on LMDB, is killed and started again in the middle', async () => {
    const service = await ServiceProcess.start({ env: { ORCHESTRATOR_SESSION_PING_INTERVAL: '1s' } });
    let clients = connectClients(service.grpc);
    const workshop = new Workshop();
    const agents: ReturningAgent[] = [];
    try {
      for (let at = 0; at < AGENTS; at += 50) {
        const some = Array.from({ length: Math.min(50, AGENTS - at) }, async (_, index) => {
          const { agentToken } = await clients.agents.registerAgent({ agentId: `a${at + index}` });
          const address = service.grpc;
          const { answer } = workshop;
          const agent = new ReturningAgent({ address, id: `a${at + index}`, token: agentToken, answer });
          agents.push(agent);
          await agent.welcomed;
        });
        await Promise.all(some);
      }
      const { id, release } = await untilResumed(clients, workshop);
      clients.close();
      await service.restart();
      clients = connectClients(service.grpc);
      release();
      const ended = await follow(clients, id, ({ endTime }) => endTime !== undefined);
      expect(ended.state).toBe(Operation_State.SUCCEEDED);
      checkAll(id, await agentsOf(clients, id), workshop);
    } finally {
      for (const agent of agents) agent.close();
      clients.close();
      await service.stop();
    }
  });
});
