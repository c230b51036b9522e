import { afterEach, expect, it } from 'vitest';
import { Agent_Liveness } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { AgentChange_Type } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  WatchLiveRequest_Part,
  type WatchLiveResponse,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { attachMany, cutOff, live } from '../../agent/care/care-fixture.ts';
import { startFleet, type TestFleet } from '../../agent/fleet-fixture.ts';
import { liveStreams, Watcher } from './live-fixture.ts';

const { AGENTS, STATUS } = WatchLiveRequest_Part;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp(): Promise<TestFleet> {
  const fleet = await startFleet();
  cleanups.push(() => fleet.stop());
  return fleet;
}

function watch(
  fleet: TestFleet,
  request: Partial<ConstructorParameters<typeof Watcher>[1]> = {},
  json = false,
) {
  const minInterval = { nanos: 250_000_000 };
  const { agentIds = [] } = request;
  const watcher = new Watcher(liveStreams(fleet), { parts: [AGENTS], minInterval, agentIds }, json);
  cleanups.push(() => watcher.close());
  return watcher;
}

const agentsOf = ({ part }: WatchLiveResponse) => {
  if (part.case !== 'agents') throw new Error(`expected agents, got ${part.case}`);
  return part.value;
};
const isSynced = (told: WatchLiveResponse): boolean => agentsOf(told).synced;
const samplesOf = (told: readonly WatchLiveResponse[]) => told.flatMap((each) => agentsOf(each).samples);
const changesOf = (told: readonly WatchLiveResponse[]) => told.flatMap((each) => agentsOf(each).changes);

it.each([false, true])('tells of every agent, then of its readings (as JSON: %s)', async (json) => {
  const fleet = await setUp();
  await attachMany(fleet, 300, (index) => ({
    displayName: `agent ${index}`,
    labels: { 'topology.kubernetes.io/zone': `z${index % 3}` },
    annotations: { long: 'x'.repeat(500) },
    capabilities: [{ name: 'sum', version: '2', description: 'sums up'.repeat(20), tags: ['t'] }],
  }));
  await live(fleet, 6);
  const watcher = watch(fleet, {}, json);
  const snapshot = await watcher.until(isSynced);
  const changes = changesOf(snapshot);
  expect(changes.length).toBe(300);
  expect(Math.max(...snapshot.map((each) => agentsOf(each).changes.length))).toBeLessThanOrEqual(256);
  const found = changes.find(({ agent }) => agent?.id === 'a7');
  expect(found).toMatchObject({
    type: AgentChange_Type.UPSERTED,
    agent: {
      liveness: Agent_Liveness.CONNECTED,
      spec: {
        displayName: 'agent 7',
        annotations: {},
        capabilities: [{ name: 'sum', version: '2', description: '' }],
      },
    },
  });
  expect(snapshot[0]?.replicaId).toBe('replica-1');
  expect(snapshot[0]?.time).toBeDefined();

  const samples: ReturnType<typeof samplesOf> = [];
  while (samples.length < 300) samples.push(...samplesOf([await watcher.next()]));
  expect(new Set(samples.map(({ agentId }) => agentId)).size).toBe(300);
  const sample = samples.find(({ agentId }) => agentId === 'a7')?.observation;
  expect(sample?.heartbeats).toBeGreaterThan(0n);
  expect(sample).toMatchObject({ replicaId: 'replica-1', health: { score: 1 }, peer: '' });
  expect(sample?.roundTrip?.p95).toBeDefined();
  expect(sample?.observeTime).toBeDefined();
});

it('tells of what changes, and of what has gone, while nothing else is told again', async () => {
  const fleet = await setUp();
  const members = await attachMany(fleet, 3);
  const watcher = watch(fleet);
  await watcher.until(isSynced);
  cutOff(fleet, members.slice(1, 2));
  await fleet.pass(100);
  const [lost] = changesOf(await watcher.until((told) => agentsOf(told).changes.length > 0));
  expect(lost).toMatchObject({ agent: { id: 'a1', liveness: Agent_Liveness.DISCONNECTED } });
  const { revision } = fleet.directory.get('default', 'a2') ?? {};
  expect(revision).toBeDefined();
  await fleet.register('new', { kind: 'late' });
  const later = changesOf(await watcher.until((told) => agentsOf(told).changes.length > 0));
  expect(later.map(({ agent }) => agent?.id)).toEqual(['new']);
});

it('tells only of readings that are new, and of a silent agent as its silence tells on its health', async () => {
  const fleet = await setUp();
  const members = await attachMany(fleet, 2);
  await live(fleet, 6);
  const watcher = watch(fleet);
  await watcher.until(isSynced);
  const first = await watcher.until((told) => agentsOf(told).samples.length > 0);
  expect(samplesOf(first).length).toBe(2);
  cutOff(fleet, members.slice(0, 1));
  await fleet.pass(100);
  // Of the one that was cut off: its reading stands without a session, and it is worth nothing now.
  const next = samplesOf(await watcher.until((told) => agentsOf(told).samples.length > 0));
  const cut = next.find(({ agentId }) => agentId === 'a0');
  expect(cut?.observation?.health).toMatchObject({ score: 0, connected: 0, reasons: ['no open session'] });
});

it('tells all that is known of agents that are asked for by name, also when they come later', async () => {
  const fleet = await setUp();
  await attachMany(fleet, 5, () => ({ annotations: { team: 'x' } }));
  await live(fleet, 6);
  const watcher = watch(fleet, { agentIds: ['a1', 'later'] });
  const [first] = await watcher.until(isSynced);
  if (first === undefined) throw new Error('nothing was told');
  expect(changesOf([first])).toMatchObject([{ agent: { id: 'a1', spec: { annotations: { team: 'x' } } } }]);
  expect(samplesOf([first])).toMatchObject([
    { agentId: 'a1', observation: { peer: '192.0.2.1:1', instanceId: 'process-a1' } },
  ]);
  await fleet.register('later', { kind: 'late' });
  const next = await watcher.until((told) => agentsOf(told).changes.length > 0);
  expect(changesOf(next)).toMatchObject([{ agent: { id: 'later', spec: { kind: 'late' } } }]);
});

it.each([
  ['agents', AGENTS],
  ['status', STATUS],
])('keeps nothing of the %s of a namespace that nobody watches any more', async (_, part) => {
  const fleet = await setUp();
  await attachMany(fleet, 1);
  const streams = liveStreams(fleet);
  const [watcher, other] = [1, 2].map(() => new Watcher(streams, { parts: [part] }));
  if (watcher === undefined || other === undefined) throw new Error('two were made');
  await watcher.next();
  await other.next();
  other.close();
  await fleet.pass(100);
  expect(streams.watched()).toEqual(['default']);
  watcher.close();
  await fleet.pass(100);
  expect(streams.watched()).toEqual([]);
});
