import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, describe, expect, it } from 'vitest';
import { PendingReason } from '../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  Allocation_State,
  AllocationSchema,
  type CreateAllocationRequest,
  type ExplainPlacementRequest,
  PlanRebalanceRequest_Goal,
  QuotaSchema,
  ResourceUsageSchema,
  type UpdateQuotaRequest,
} from '../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { usageBar } from '../../src/cli/output/usage.ts';
import { timestampFromMs } from '../../src/lib/proto-time.ts';
import { type FakeService, type FakeServiceOptions, startFakeService } from '../support/fake-service.ts';
import { cli } from '../support/run-cli.ts';

type Methods = NonNullable<FakeServiceOptions['resources']>;

let service: FakeService | undefined;
afterEach(async () => {
  await service?.close();
  service = undefined;
});

async function serving(resources: Methods): Promise<string[]> {
  service = await startFakeService({ resources });
  return ['--server', service.address, 'resources'];
}

const refused = (reason: string, code: Code) => new ConnectError(reason, code, { 'error-reason': reason });
const usage = (
  resource: string,
  [capacity, reserved, used]: [number, number, number?],
  more: Partial<MessageInitShape<typeof ResourceUsageSchema>> = {},
) =>
  create(ResourceUsageSchema, {
    ...{ resource, capacity: BigInt(capacity), reservable: BigInt(capacity), reserved: BigInt(reserved) },
    ...(used !== undefined && { used: BigInt(used) }),
    ...(more as object),
  });

describe('a usage bar', () => {
  it.each([
    ['nothing is taken', usage('x', [10, 0, 0]), '··········'],
    ['half is reserved and used', usage('x', [10, 5, 5]), '█████·····'],
    ['what is reserved is not all used', usage('x', [10, 8, 3]), '███▒▒▒▒▒··'],
    ['more is used than is reserved', usage('x', [10, 3, 8]), '███░░░░░··'],
    ['nobody says what is used', usage('x', [10, 4]), '████······'],
    ['capacity shrank below what is reserved', usage('x', [5, 10, 5], { excess: 5n }), '█████!!!!!'],
    ['there is none', usage('x', [0, 0]), '··········'],
  ])('where %s', (_, of, bar) => expect(usageBar(of, 10)).toBe(bar));
});

describe('resources usage', () => {
  const answer = {
    total: [usage('cpu_milli', [8000, 6000, 3000]), usage('memory_bytes', [2 ** 34, 2 ** 33])],
    zones: [
      { zone: 'a', agents: 1, resources: [usage('cpu_milli', [4000, 4000])] },
      { zone: '', agents: 1, resources: [usage('cpu_milli', [4000, 2000])] },
    ],
    quotas: [
      {
        owner: 'team-a',
        hard: { tasks: 4n },
        soft: { gpu: 1n },
        reserved: { tasks: 4n, gpu: 2n },
        budgets: [{ name: 'tokens', limit: 1000n, spent: 900n, reserved: 50n, period: { seconds: 86_400n } }],
        weight: 3,
      },
    ],
    waiting: [
      { reason: PendingReason.NO_ROOM, tasks: 1200, oldestTime: timestampFromMs(Date.now() - 5_000) },
    ],
  };
  const agents = [
    {
      agentId: 'a1',
      zone: 'a',
      tasks: 3,
      available: true,
      resources: [usage('cpu_milli', [4000, 3000, 1000])],
    },
    {
      ...{ agentId: 'a2', tasks: 1, allocations: 2, available: false, detail: 'DRAINING\u001b[2J' },
      resources: [usage('cpu_milli', [4000, 6000], { excess: 2000n }), usage('gpu', [1, 0])],
    },
  ];

  it('shows each agent with its bar, zones, quotas, budgets and what waits, over all pages', async () => {
    const pages: unknown[] = [];
    const start = await serving({
      getUsage: ({ pageToken, withAgents, selector }) => {
        pages.push([pageToken, withAgents, selector]);
        const page = pageToken === '' ? agents.slice(0, 1) : agents.slice(1);
        return { ...answer, agents: page, nextPageToken: pageToken === '' ? 'next' : '' };
      },
    });
    const { stdout, stderr, code } = await cli([...start, 'usage', '-l', 'tier=web']);
    expect(code).toBe(0);
    expect(pages).toEqual([
      ['', true, 'tier=web'],
      ['next', true, 'tier=web'],
    ]);
    expect(stdout).toMatch(/cpu_milli +6,000 +8,000 +3,000 +8,000 +████████▒▒▒▒▒▒▒·····/);
    expect(stdout).toMatch(/memory_bytes +8 GiB +16 GiB +– +16 GiB +█{10}·{10}/);
    expect(stdout).toContain('Zone a, 1 agent\n');
    expect(stdout).toContain('Without a zone, 1 agent\n');
    expect(stdout).toMatch(/a1 +a +3 tasks +cpu_milli +3,000 +4,000 +1,000/);
    expect(stdout).toMatch(
      /a2 +1 task, 2 allocations +cpu_milli +6,000 +4,000 .*█+!+ +2,000 too much is reserved/,
    );
    expect(stdout).toMatch(/team-a +3 +tasks +hard +4 +4 +█{10}/);
    expect(stdout).toMatch(/gpu +soft +2 +1 .*others come first/);
    expect(stdout).toMatch(/tokens +budget +950 +1,000 .*900 spent, 50 reserved, each 1d0h/);
    expect(stdout).toMatch(/1,200 +NO_ROOM +5\.\ds ago/);
    expect(stderr).toContain('░ used only');
  });

  it('shows why an agent gets no work, escaped', async () => {
    const away = { ...agents[1], resources: [usage('gpu', [1, 0])] };
    const start = await serving({ getUsage: () => ({ total: [], agents: [away] }) });
    expect((await cli([...start, 'usage'])).stdout).toContain('DRAINING\\x1b[2J');
  });

  it('leaves the agents out where they are not wanted, and fits a narrow terminal', async () => {
    const start = await serving({
      getUsage: ({ withAgents }) => ({ ...answer, agents: withAgents ? agents : [] }),
    });
    expect((await cli([...start, 'usage', '--no-agents'])).stdout).not.toContain('Agents');
    const { stdout } = await cli([...start, 'usage', '--color', 'never'], { columns: 60 });
    for (const line of stdout.split('\n')) expect([...line].length).toBeLessThanOrEqual(60);
  });

  it('is JSON for programs', async () => {
    const start = await serving({ getUsage: () => ({ ...answer, agents }) });
    const { stdout } = await cli([...start, 'usage', '-o', 'json']);
    expect(JSON.parse(stdout)).toMatchObject({ agents: [{ agentId: 'a1' }, { agentId: 'a2' }] });
  });
});

describe('resources allocate, allocations, renew and release', () => {
  const allocation = (more: MessageInitShape<typeof AllocationSchema> = {}) =>
    create(AllocationSchema, {
      ...{ namespace: 'default', id: 'al-1', state: Allocation_State.ACTIVE, agentId: 'a1', revision: 4n },
      spec: { resources: { gpu: 1n }, budgets: { tokens: 100n }, labels: { owner: 'o' }, holder: 'ann' },
      expireTime: timestampFromMs(Date.now() + 7_230_000),
      ...(more as object),
    });

  it('reserves what it is told, and prints the id', async () => {
    const asked: CreateAllocationRequest[] = [];
    const start = await serving({
      createAllocation: (request) => {
        asked.push(request);
        return { allocation: allocation() };
      },
    });
    const words = [
      'train',
      '--resource',
      'gpu=1',
      '--budget',
      'tokens=100',
      '--lease',
      '10m',
      '--wait',
      '1m',
    ];
    const more = [
      '--label',
      'owner=o',
      '--holder',
      'ann',
      '--priority',
      '-3',
      '--id',
      'al-1',
      '--agent',
      'a1',
    ];
    const run = await cli([...start, 'allocate', ...words, ...more]);
    expect(run).toMatchObject({ code: 0, stdout: 'al-1\n' });
    expect(run.stderr).toBe('reserved: al-1 on a1 for 2h00m, spent tokens 0 of 100\n');
    expect(asked).toMatchObject([
      {
        allocationId: 'al-1',
        wait: { seconds: 60n },
        spec: {
          ...{ capability: 'train', resources: { gpu: 1n }, budgets: { tokens: 100n }, priority: -3 },
          ...{
            lease: { seconds: 600n },
            labels: { owner: 'o' },
            holder: 'ann',
            placement: { agentIds: ['a1'] },
          },
        },
      },
    ]);
    expect(await cli([...start, 'allocate'])).toMatchObject({ code: 2 });
  });

  it('lists them and shows one', async () => {
    const start = await serving({
      listAllocations: ({ withTasks, owner, states }) => {
        expect([withTasks, owner, states]).toEqual([true, 'o', [Allocation_State.WAITING]]);
        const pending = { reason: PendingReason.NO_ROOM, detail: 'full' };
        return { allocations: [allocation({ state: Allocation_State.WAITING, agentId: '', pending })] };
      },
      getAllocation: () => ({ allocation: allocation({ spent: { tokens: 7n } }) }),
    });
    const list = await cli([...start, 'allocations', '--with-tasks', '--owner', 'o', '--state', 'waiting']);
    expect(list.stdout).toMatch(/\nal-1 +WAITING +gpu 1 +tokens 0 of 100 +o +ann +NO_ROOM: full\n/);
    const one = await cli([...start, 'allocations', 'al-1']);
    expect(one.stdout).toMatch(/spent +tokens 7 of 100\n/);
    expect(one.stdout).toMatch(/ends +in 2h00m\n/);
  });

  it('renews and releases, with what was spent', async () => {
    const asked: unknown[] = [];
    const start = await serving({
      renewAllocation: (request) => {
        asked.push(request);
        return { allocation: allocation({ spent: { tokens: 9n } }) };
      },
      releaseAllocation: (request) => {
        asked.push(request);
        throw refused('ALLOCATION_ENDED', Code.FailedPrecondition);
      },
    });
    const renewed = await cli([...start, 'renew', 'al-1', '--lease', '2m', '--spent', 'tokens=9']);
    expect(renewed.stdout).toBe('renewed: al-1 on a1 for 2h00m, spent tokens 9 of 100\n');
    const released = await cli([...start, 'release', 'al-1', '--if-revision', '4']);
    expect(released.code).toBe(4);
    expect(asked).toMatchObject([
      { allocationId: 'al-1', lease: { seconds: 120n }, spent: { tokens: 9n } },
      { allocationId: 'al-1', expectedRevision: 4n },
    ]);
  });
});

describe('resources quotas', () => {
  const stored = create(QuotaSchema, {
    ...{ owner: 'team-a', hard: { tasks: 4n, gpu: 2n }, reserved: { tasks: 1n }, weight: 2, revision: 8n },
    budgets: [{ name: 'tokens', limit: 1000n, spent: 10n, period: { seconds: 86_400n } }],
  });

  async function setting(before: typeof stored | undefined) {
    const asked: UpdateQuotaRequest[] = [];
    const start = await serving({
      getQuota: () => {
        if (before === undefined) throw refused('QUOTA_NOT_FOUND', Code.NotFound);
        return { quota: before };
      },
      updateQuota: (request) => {
        asked.push(request);
        return { quota: { ...create(QuotaSchema, request.quota), revision: 9n } };
      },
    });
    return { start: [...start, 'quotas', 'set'], asked };
  }

  it('keep what is not named, and are written only if nobody changed them meanwhile', async () => {
    const { start, asked } = await setting(stored);
    const run = await cli([
      ...start,
      'team-a',
      '--hard',
      'gpu-',
      '--hard',
      'cpu_milli=500',
      '--budget',
      'calls=60/1m',
    ]);
    expect(run.code).toBe(0);
    expect(run.stderr).toContain('set: quota of team-a at revision 9');
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({ expectedRevision: 8n, resetSpent: false });
    expect(asked[0]?.quota).toMatchObject({
      owner: 'team-a',
      hard: { tasks: 4n, cpu_milli: 500n },
      weight: 2,
    });
    expect(asked[0]?.quota?.hard).not.toHaveProperty('gpu');
    expect(asked[0]?.quota?.budgets).toMatchObject([
      { name: 'tokens', limit: 1000n, spent: 0n, period: { seconds: 86_400n } },
      { name: 'calls', limit: 60n, period: { seconds: 60n } },
    ]);
  });

  it('are made where there are none, and may be replaced', async () => {
    const made = await setting(undefined);
    await cli([...made.start, '--budget', 'tokens=5', '--weight', '0.5']);
    expect(made.asked).toMatchObject([{ expectedRevision: 0n, quota: { owner: '', weight: 0.5 } }]);
    await service?.close();
    const replaced = await setting(stored);
    await cli([...replaced.start, 'team-a', '--replace', '--soft', 'gpu=1']);
    expect(replaced.asked[0]?.expectedRevision).toBeUndefined();
    expect(replaced.asked[0]?.quota).toMatchObject({ hard: {}, soft: { gpu: 1n }, budgets: [], weight: 0 });
  });

  it.each([
    ['nothing to set', [], 'nothing to set'],
    ['a limit without a number', ['--hard', 'gpu=many'], 'a whole number'],
    ['a negative limit', ['--hard', 'gpu=-1'], 'a whole number'],
    ['a period of nothing', ['--budget', 'tokens=5/'], 'a period'],
    ['a weight of 0', ['--weight', '0'], 'above 0'],
    ['a limit twice', ['--hard', 'gpu=1', '--hard', 'gpu=2'], 'given twice'],
  ])('with %s are not asked for', async (_, words, hint) => {
    const { start, asked } = await setting(stored);
    const run = await cli([...start, 'team-a', ...words]);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain(hint);
    expect(asked).toEqual([]);
  });

  it('are listed, shown and deleted', async () => {
    const start = await serving({
      listQuotas: ({ pageToken }) =>
        pageToken === ''
          ? { quotas: [{ owner: '', hard: { tasks: 100n } }], nextPageToken: 'next' }
          : { quotas: [stored] },
      getQuota: () => ({ quota: stored }),
      deleteQuota: ({ owner, expectedRevision }) => {
        expect([owner, expectedRevision]).toEqual(['team-a', 8n]);
        throw refused('QUOTA_IN_USE', Code.FailedPrecondition);
      },
    });
    const list = await cli([...start, 'quotas', 'list']);
    expect(list.stdout).toMatch(/\n\(the namespace\) +1 +tasks +hard +0 +100 /);
    expect(list.stdout).toMatch(/\nteam-a +2 +gpu +hard +0 +2 /);
    expect((await cli([...start, 'quotas', 'get', 'team-a'])).stdout).toMatch(/quota of +team-a\n/);
    expect(await cli([...start, 'quotas', 'delete', 'team-a', '--if-revision', '8'])).toMatchObject({
      code: 4,
    });
  });
});

describe('resources explain and rebalance', () => {
  it('asks what if, and says where it would go and what would be stranded', async () => {
    const asked: ExplainPlacementRequest[] = [];
    const start = await serving({
      explainPlacement: (request) => {
        asked.push(request);
        return {
          explanation: {
            placeable: true,
            agentId: 'a2',
            agents: 3,
            eligible: 2,
            fitting: 1,
            couldEver: true,
          },
          strandedTaskIds: ['t1', 't2'],
        };
      },
    });
    const words = ['train', '--resource', 'gpu=8', '--owner', 'o', '--drained', 'a1'];
    const run = await cli([
      ...start,
      'explain',
      ...words,
      '--suppose',
      'a2:gpu=8',
      '--suppose',
      'a2:slots=1',
    ]);
    expect(run.stdout).toContain(
      'on a2\n3 agents, 2 of them could have it if they were empty and there, 1 fit now\n',
    );
    expect(run.stdout).toContain('2 tasks would then have no other place: t1, t2');
    expect(run.stderr).toContain('nothing was changed');
    expect(asked).toMatchObject([
      {
        ...{ capability: 'train', resources: { gpu: 8n }, owner: 'o', taskId: '' },
        whatIf: {
          drainedAgentIds: ['a1'],
          capacities: [{ agentId: 'a2', capacity: { gpu: 8n, slots: 1n } }],
        },
      },
    ]);
    await cli([...start, 'explain', '--task', 't9']);
    expect(asked[1]).toMatchObject({ taskId: 't9', capability: '' });
    expect(asked[1]?.whatIf).toBeUndefined();
    expect(await cli([...start, 'explain', 'train', '--task', 't9'])).toMatchObject({ code: 2 });
    expect(await cli([...start, 'explain', '--suppose', 'gpu=8'])).toMatchObject({ code: 2 });
  });

  it('shows a plan with gain and cost of each move, and carries it out', async () => {
    const asked: unknown[] = [];
    const start = await serving({
      planRebalance: (request) => {
        asked.push(request);
        const goal = PlanRebalanceRequest_Goal.FREE_AGENTS;
        const move = { taskId: 't1', fromAgentId: 'a1', toAgentId: 'a2', goal, gain: 0.25, costSeconds: 90 };
        return {
          plan: {
            id: 'p1',
            summary: '1 agent becomes free',
            moves: [{ ...move, detail: 'nearly empty' }],
            notMovable: 3,
          },
        };
      },
      applyRebalance: ({ planId }) => {
        if (planId !== 'p1') throw refused('PLAN_OUT_OF_DATE', Code.Aborted);
        return { moves: 1, revision: 12n };
      },
    });
    const plan = await cli([
      ...start,
      'rebalance',
      'plan',
      '--goal',
      'free_agents,place_waiting',
      '--max-moves',
      '5',
    ]);
    expect(asked).toMatchObject([
      {
        maxMoves: 5,
        goals: [PlanRebalanceRequest_Goal.FREE_AGENTS, PlanRebalanceRequest_Goal.PLACE_WAITING],
      },
    ]);
    expect(plan.stdout).toContain('1 agent becomes free\n');
    expect(plan.stdout).toMatch(/t1 +a1 +a2 +FREE_AGENTS +25 % +1m30s +nearly empty\n/);
    expect(plan.stderr).toContain('3 tasks may not be moved');
    expect(plan.stderr).toContain('orchestrator resources rebalance apply p1');
    const applied = await cli([...start, 'rebalance', 'apply', 'p1']);
    expect(applied).toMatchObject({ code: 0, stdout: 'begun: 1 task is moved at revision 12\n' });
    expect(await cli([...start, 'rebalance', 'apply', 'old'])).toMatchObject({ code: 4 });
  });
});
