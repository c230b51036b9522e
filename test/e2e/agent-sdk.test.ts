import { afterEach, beforeEach, expect, test } from 'vitest';
import { Agent_Liveness } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { type AgentHandle, connectAgent } from '../../src/client/index.ts';
import { fastTimes, Stack } from '../support/stack.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

let stack: Stack;
let proxy: TcpProxy;
let agent: AgentHandle;

beforeEach(async () => {
  stack = await Stack.start('lmdb', { env: fastTimes });
  proxy = await TcpProxy.start({ target: stack.service.grpc });
  agent = await connectAgent({
    server: proxy.address,
    id: 'sdk-1',
    spec: { kind: 'test' },
    backoffBaseMs: 100,
    backoffCapMs: 300,
    timeoutMs: 2_000,
  });
});
afterEach(async () => {
  await agent.close();
  await proxy.close();
  await stack.dispose();
});

const explain = () => stack.clients.agents.explainAgent({ agentId: 'sdk-1' });
const connectedSince = (epoch: bigint) =>
  until(
    () => ({ state: agent.state, epoch: agent.epoch }),
    (now) => now.state === 'connected' && now.epoch > epoch,
    { what: 'a newer session' },
  );

test('a link that goes silent is given up, and the agent is back before it counts as lost', async () => {
  const { epoch, leaseSignal } = agent;
  proxy.stall(true); // this connection only: new ones get through
  await connectedSince(epoch);
  expect(leaseSignal.aborted).toBe(false);
  const { verdicts } = await explain();
  expect(verdicts.map(({ rule }) => rule)).not.toContain('lease');
});

test('a service that stands still for longer than the lease is noticed, and found again when it goes on', async () => {
  const { epoch, leaseSignal } = agent;
  stack.service.signal('SIGSTOP');
  await until(
    () => leaseSignal.aborted,
    (aborted) => aborted,
    { what: 'the lease signal' },
  );
  stack.service.signal('SIGCONT');
  await connectedSince(epoch);
  expect(agent.leaseSignal.aborted).toBe(false);
});

test('a service killed and started again finds the agent back without a new registration', async () => {
  const { epoch, token } = agent;
  await stack.service.restart();
  await connectedSince(epoch);
  expect(agent.token).toBe(token);
});

test('a goodbye is stored when leave resolves', async () => {
  await agent.leave('done');
  const response = await explain();
  expect(response.agent?.liveness).toBe(Agent_Liveness.LEFT);
  expect(response.agent?.verdict?.detail).toContain('done');
});

test('a report reaches the service within a second or so, and work that stands still lowers health', async () => {
  await agent.close();
  const spec = { activities: [{ name: 'dig', progressBudget: { nanos: 400_000_000 } }] };
  agent = await connectAgent({
    server: proxy.address,
    id: 'sdk-1',
    takeover: true,
    spec,
    reportIntervalMs: 50,
  });
  agent.report({ activity: 'dig', load: 0.5 });
  agent.progress('metres', 1, 10);
  const health = async () => (await explain()).agent?.observation;
  const stuck = await until(health, (seen) => seen?.health?.progressing === 0, { what: 'no progress' });
  expect(stuck?.report).toMatchObject({
    activity: 'dig',
    load: 0.5,
    progress: [{ name: 'metres', done: 1n }],
  });
  agent.progress('metres', 2, 10);
  await until(health, (seen) => seen?.health?.progressing === 1, { what: 'progress' });
});
