import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  ExplainPlacementRequestSchema,
  GetUsageRequestSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { AgentPool } from '../../../../src/domain/resource/pool/agent-pool.ts';
import type { WaitingItem } from '../../../../src/domain/resource/usage/ports.ts';
import { strandedBy } from '../../../../src/domain/resource/usage/stranded.ts';
import { waitingCounts } from '../../../../src/domain/resource/usage/waiting-counts.ts';
import { startResources, type TestResources } from '../resource-fixture.ts';

type Usage = Exclude<MessageInitShape<typeof GetUsageRequestSchema>, { $typeName: string }>;
type Explain = Exclude<MessageInitShape<typeof ExplainPlacementRequestSchema>, { $typeName: string }>;

let fleet: TestResources;
beforeEach(async () => {
  fleet = await startResources();
  await fleet.worker('w1', { cpu: 10n }, { 'topology.kubernetes.io/zone': 'a' });
  await fleet.worker('w2', { cpu: 20n }, { 'topology.kubernetes.io/zone': 'b' });
  await fleet.round();
});
afterEach(() => fleet.stop());

const usage = (request: Usage = {}) => fleet.resources.usage.get(create(GetUsageRequestSchema, request));
const counted = (lines: Parameters<typeof waitingCounts<WaitingItem>>[0]) => {
  const steps = waitingCounts(lines, 10_000, () => PendingReason.NEW);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
};
const explain = async (request: Explain) =>
  (await fleet.resources.explain.explain(create(ExplainPlacementRequestSchema, request))).explanation;

describe('usage', () => {
  it('is told of all, of zones, of agents page by page, and of quotas', async () => {
    await fleet.setQuota({ owner: 'ann', hard: { cpu: 100n } });
    await fleet.ask({ resources: { cpu: 15n }, labels: { owner: 'ann' } });
    const all = await usage({ withAgents: true, pageSize: 1 });
    expect(all.total.find(({ resource }) => resource === 'cpu')).toMatchObject({
      capacity: 30n,
      reserved: 15n,
    });
    expect(all.zones).toMatchObject([
      { zone: 'a', agents: 1 },
      { zone: 'b', agents: 1 },
    ]);
    expect(all.agents.map(({ agentId }) => agentId)).toEqual(['w1']);
    const rest = await usage({ withAgents: true, pageSize: 1, pageToken: all.nextPageToken });
    expect(rest.agents).toMatchObject([{ agentId: 'w2', allocations: 1, available: true }]);
    expect(rest.nextPageToken).toBe('');
    expect(all.quotas).toMatchObject([{ owner: 'ann', namespace: 'default', reserved: { cpu: 15n } }]);
    const some = await usage({ selector: 'topology.kubernetes.io/zone=a' });
    expect(some.total.find(({ resource }) => resource === 'cpu')).toMatchObject({
      capacity: 10n,
      reserved: 0n,
    });
  });

  it('of a namespace that is not there is nothing, and leaves nothing behind', async () => {
    const nothing = await usage({ namespace: 'none' });
    expect([nothing.total, nothing.zones, nothing.quotas, nothing.waiting]).toEqual([[], [], [], []]);
    expect(fleet.directory.namespaces()).toEqual(['default']);
  });

  it('has how many tasks wait by what the first of each line waits for', () => {
    const item = (key: string, sinceMs: number, kind: 'task' | 'allocation' = 'task') => ({
      key,
      sinceMs,
      kind,
    });
    const line = [item('b', 2000), item('c', 1000), item('d', 0, 'allocation')];
    const asked: string[] = [];
    const counts = counted({
      waiting: {
        lanes: () => [{ line }],
        all: () => [...line, item('p', 500)],
        laneOf: (key) => (key === 'p' ? undefined : {}),
      },
      why: ({ key }) => {
        asked.push(key);
        return { reason: key === 'p' ? PendingReason.BACKOFF : PendingReason.NO_ROOM };
      },
    });
    expect(counts).toMatchObject([
      { reason: PendingReason.NO_ROOM, tasks: 2, oldestTime: { seconds: 1n } },
      { reason: PendingReason.BACKOFF, tasks: 1 },
    ]);
    expect(asked).toEqual(['b', 'p']);
  });

  it('asks of no more than 200 why they wait, each as a step of its own, and tells of the others what is stored', () => {
    let asked = 0;
    const lanes = Array.from({ length: 250 }, (_, index) => ({
      line: [{ key: `t${index}`, sinceMs: 0, kind: 'task' as const }],
    }));
    const why = () => {
      asked += 1;
      return { reason: PendingReason.NO_ROOM };
    };
    const waiting = { lanes: () => lanes, all: () => lanes.flatMap(({ line }) => line), laneOf: () => ({}) };
    const steps = waitingCounts({ waiting, why }, 10_000, () => PendingReason.NEW);
    steps.next();
    expect(asked).toBe(1);
    expect(counted({ waiting, why })).toMatchObject([
      { reason: PendingReason.NO_ROOM, tasks: 200 },
      { reason: PendingReason.NEW, tasks: 50 },
    ]);
  });
});

describe('a placement explained', () => {
  it('has the agents that fit, and what would be otherwise if it were so', async () => {
    const asked = { capability: 'work', resources: { cpu: 15n } };
    expect(await explain(asked)).toMatchObject({ placeable: true, agentId: 'w2', fitting: 1, eligible: 1 });
    expect(await explain({ ...asked, whatIf: { drainedAgentIds: ['w2'] } })).toMatchObject({
      placeable: false,
      agentId: '',
    });
    const capacities = [{ agentId: 'w1', capacity: { cpu: 15n } }];
    const moved = { ...asked, whatIf: { drainedAgentIds: ['w2'], capacities } };
    expect(await explain(moved)).toMatchObject({ placeable: true, agentId: 'w1' });
  });

  it('has quotas and budgets that are in the way, those that are supposed in place of those that are', async () => {
    await fleet.setQuota({ owner: 'ann', hard: { cpu: 5n }, budgets: [{ name: 'tokens', limit: 5n }] });
    const asked = { capability: 'work', owner: 'ann', resources: { cpu: 6n } };
    expect(await explain(asked)).toMatchObject({
      placeable: false,
      reason: PendingReason.QUOTA,
      couldEver: true,
      quotas: [{ owner: 'ann', resource: 'cpu', needed: 6n, used: 0n, limit: 5n }],
    });
    const whatIf = { quotas: [{ owner: 'ann', hard: { cpu: 6n } }] };
    expect(await explain({ ...asked, whatIf })).toMatchObject({ placeable: true, quotas: [] });
    const spends = { capability: 'work', owner: 'ann', budgets: { tokens: 6n } };
    expect(await explain(spends)).toMatchObject({ reason: PendingReason.BUDGET });
    const unknown = await explain({ capability: 'work', budgets: { calls: 1n } });
    expect(unknown).toMatchObject({
      reason: PendingReason.BUDGET,
      detail: 'no quota declares a budget calls',
    });
    // What no agent could have stays the reason.
    const never = await explain({ ...asked, resources: { cpu: 21n } });
    expect(never).toMatchObject({ reason: PendingReason.TOO_LARGE, quotas: [{ resource: 'cpu' }] });
  });

  it('of a task that is not there is an error', async () => {
    await expect(explain({ taskId: 'none' })).rejects.toMatchObject({ reason: ErrorReason.TASK_NOT_FOUND });
  });
});

describe('tasks of agents that are supposed to be drained', () => {
  it('are stranded when there is no other place left, the less important first', () => {
    const pool = new AgentPool({ overcommit: {}, defaultSlots: 8, defaultStrategy: 'spread' });
    for (const id of ['w1', 'w2']) {
      const agent = { id, uid: id, labels: {}, zone: '', capabilities: [{ name: 'work', version: '' }] };
      pool.setAgent({ ...agent, capacity: { cpu: 4 }, available: true, unavailableWhy: '' });
    }
    const want = { capability: 'work', placement: undefined, resources: { cpu: 2, slots: 1 } };
    const tasks = ['a', 'b'].map((id) => ({ id, key: `task-${id}-1`, want, priority: id === 'b' ? 1 : 0 }));
    for (const { key } of tasks) {
      pool.hold(key, { agentId: 'w1', resources: want.resources, group: 'work', kind: 'task' });
    }
    pool.hold('other', { agentId: 'w2', resources: { cpu: 2 }, group: 'work', kind: 'task' });
    const drained = { drained: new Set(['w1']), capacities: new Map() };
    expect(strandedBy(pool, tasks, drained)).toEqual(['a']);
    const larger = { drained: new Set(['w1']), capacities: new Map([['w2', { cpu: 6 }]]) };
    expect(strandedBy(pool, tasks, larger)).toEqual([]);
    // It was tried out on a copy.
    expect(pool.held('task-a-1')?.agentId).toBe('w1');
  });
});
