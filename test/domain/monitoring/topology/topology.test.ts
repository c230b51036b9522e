import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterEach, expect, it } from 'vitest';
import { Relationship_Type } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { SendMessageSchema } from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  GetTopologyRequestSchema,
  type GetTopologyResponse,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { Topology } from '../../../../src/domain/monitoring/topology/topology.ts';
import { attachMany, cutOff, live } from '../../agent/care/care-fixture.ts';
import { startFleet, type TestFleet } from '../../agent/fleet-fixture.ts';

const ZONE = 'topology.kubernetes.io/zone';
const { DEPENDS_ON, SUPERVISED_BY } = Relationship_Type;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp() {
  const fleet = await startFleet();
  cleanups.push(() => fleet.stop());
  const topology = new Topology({
    clock: fleet.clock,
    views: fleet.views,
    directory: fleet.directory,
    links: fleet.coordination.traffic.counts,
    health: (known) => fleet.observations.health(known),
    storeMs: () => fleet.clock.wallMs(),
  });
  const get = (request: MessageInitShape<typeof GetTopologyRequestSchema> = {}) =>
    topology.get(create(GetTopologyRequestSchema, request));
  return { fleet, get };
}

async function send(fleet: TestFleet, from: string, to: string, times = 1): Promise<void> {
  for (let index = 0; index < times; index += 1) {
    const message = {
      source: from,
      type: 't',
      payload: { contentType: 'text/plain', content: { case: 'text' as const, value: 'x' } },
    };
    const toSend = create(SendMessageSchema, { message, to: { case: 'agentId', value: to } });
    await fleet.coordination.messages.send('default', toSend, {
      caller: { principal: 'operator', token: undefined },
      sessionEpoch: 0n,
    });
  }
}

const edgesOf = ({ edges }: GetTopologyResponse) =>
  edges.map(({ fromId, toId, relationship, count }) => `${fromId} -${relationship}-> ${toId} x${count}`);
const nodesOf = ({ nodes }: GetTopologyResponse) => nodes.map(({ id, agents }) => `${id} x${agents}`);

it('agents, what they declare, and whom they talk to stand in one graph', async () => {
  const { fleet, get } = await setUp();
  const members = await attachMany(fleet, 3, (index) => ({
    kind: index === 0 ? 'db' : 'web',
    displayName: `Agent ${index}`,
    labels: { [ZONE]: 'eu-1' },
    relationships:
      index === 0
        ? []
        : [
            { type: DEPENDS_ON, agentId: 'a0' },
            { type: SUPERVISED_BY, agentId: 'nobody' },
          ],
  }));
  await live(fleet, 6);
  await send(fleet, 'a1', 'a0', 6);
  await send(fleet, 'billing', 'a2', 1);
  cutOff(fleet, members.slice(2));
  await fleet.pass(100);
  const found = await get();
  expect(edgesOf(found)).toEqual([
    'a1 --> a0 x1',
    'a1 -DEPENDS_ON-> a0 x1',
    'a1 -SUPERVISED_BY-> nobody x1',
    'a2 -DEPENDS_ON-> a0 x1',
    'a2 -SUPERVISED_BY-> nobody x1',
    'billing --> a2 x1',
  ]);
  expect(found).toMatchObject({ agents: 3, truncated: false, groupBy: '' });
  const [a0, , a2, billing, nobody] = found.nodes;
  expect(a0).toMatchObject({ id: 'a0', name: 'Agent 0', kind: 'db', zone: 'eu-1', connected: 1, health: 1 });
  expect(a2).toMatchObject({ id: 'a2', connected: 0, health: 0 });
  expect(billing).toMatchObject({ id: 'billing', agents: 0, missing: false });
  expect(nobody).toMatchObject({ id: 'nobody', agents: 0, missing: true });
  expect(found.edges[0]).toMatchObject({ messages: 6n, failed: 0n, rate: 0.1 });
});

it('a rate is of the last minute alone', async () => {
  const { fleet, get } = await setUp();
  await attachMany(fleet, 2);
  await send(fleet, 'a1', 'a0', 60);
  const rate = async () => (await get()).edges[0]?.rate ?? -1;
  expect(await rate()).toBe(1);
  await fleet.pass(90_000);
  expect(await rate()).toBeCloseTo(0.5, 1);
  await fleet.pass(60_000);
  expect(await rate()).toBe(0);
});

it('those that are asked for come with whom they have to do with, and nobody else', async () => {
  const { fleet, get } = await setUp();
  await attachMany(fleet, 5, (index) => ({
    labels: { tier: index === 0 ? 'db' : 'web' },
    relationships: index === 1 ? [{ type: DEPENDS_ON, agentId: 'a0' }] : [],
  }));
  await send(fleet, 'a3', 'a4');
  const found = await get({ selector: 'tier=db' });
  expect(nodesOf(found)).toEqual(['a0 x1', 'a1 x1']);
  expect(edgesOf(found)).toEqual(['a1 -DEPENDS_ON-> a0 x1']);
});

it('agents are put together by a label, by their kind, and by zone where there are too many', async () => {
  const { fleet, get } = await setUp();
  await attachMany(fleet, 12, (index) => ({
    kind: index < 4 ? 'db' : 'web',
    labels: { [ZONE]: `z${index % 3}`, tier: 'one' },
    relationships: index < 4 ? [] : [{ type: DEPENDS_ON, agentId: `a${index % 4}` }],
  }));
  const byKind = await get({ groupBy: 'kind' });
  expect(nodesOf(byKind)).toEqual(['db x4', 'web x8']);
  expect(edgesOf(byKind)).toEqual(['web -DEPENDS_ON-> db x8']);
  expect(nodesOf(await get({ groupBy: 'tier' }))).toEqual(['one x12']);
  const byZone = await get({ maxNodes: 5 });
  expect(byZone).toMatchObject({ groupBy: ZONE, agents: 12, truncated: false });
  expect(nodesOf(byZone)).toEqual(['z0 x4', 'z1 x4', 'z2 x4']);
});

it('more than is asked for is left out, the smallest first, and that is said', async () => {
  const { fleet, get } = await setUp();
  await attachMany(fleet, 6, (index) => ({ labels: { team: index < 3 ? 'big' : `small-${index}` } }));
  const found = await get({ groupBy: 'team', maxNodes: 1 });
  expect(nodesOf(found)).toEqual(['big x3']);
  expect(found.truncated).toBe(true);
});

it('a sender that is called like a group is told apart from it', async () => {
  const { fleet, get } = await setUp();
  await attachMany(fleet, 2, () => ({ kind: 'web' }));
  await send(fleet, 'web', 'a0');
  const found = await get({ groupBy: 'kind' });
  expect(nodesOf(found)).toEqual(['web x2', 'web* x0']);
  expect(edgesOf(found)).toEqual(['web* --> web x1']);
});
