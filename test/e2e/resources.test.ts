import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AgentSpecSchema } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { PendingReason } from '../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  Allocation_State,
  type CreateAllocationRequestSchema,
} from '../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { durationFromMs } from '../../src/lib/proto-time.ts';
import { failureOf } from '../support/clients.ts';
import { strain } from '../support/faults/strain.ts';
import { Stack, storeKinds } from '../support/stack.ts';
import { until } from '../support/until.ts';

type Asked = Exclude<MessageInitShape<typeof CreateAllocationRequestSchema>, { $typeName: string }>;

describe.each(storeKinds)('resources on %s', (kind) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await Stack.start(kind);
    const capacity = { cpu_milli: 4000n, memory_bytes: 8n * 2n ** 30n };
    const agent = stack.agent({ id: 'w1' });
    const spec = {
      capacity,
      labels: { 'topology.kubernetes.io/zone': 'a' },
      capabilities: [{ name: 'build' }],
    };
    await agent.register({ spec: create(AgentSpecSchema, spec) });
    await agent.attach().welcome;
  });
  afterAll(() => stack.dispose());

  const resources = () => stack.clients.resources;
  const ask = (cpu: bigint, more: Asked = {}, lease = 60_000) =>
    resources().createAllocation({
      ...more,
      spec: { resources: { cpu_milli: cpu }, lease: durationFromMs(lease), ...(more.spec as object) },
    });
  const state = async (allocationId: string) =>
    (await resources().getAllocation({ allocationId })).allocation?.state;

  it('are reserved, renewed, given back once, and free again', async () => {
    const { allocation } = await ask(3000n, { allocationId: 'one' });
    expect(allocation).toMatchObject({ id: 'one', agentId: 'w1', state: Allocation_State.ACTIVE });
    const { total, agents } = await resources().getUsage({ withAgents: true });
    expect(total.find(({ resource }) => resource === 'cpu_milli')).toMatchObject({
      capacity: 4000n,
      reserved: 3000n,
    });
    expect(agents).toMatchObject([{ agentId: 'w1', allocations: 1, tasks: 0, available: true }]);
    const renewed = await resources().renewAllocation({
      allocationId: 'one',
      lease: durationFromMs(120_000),
    });
    expect(renewed.allocation?.revision).toBeGreaterThan(allocation?.revision ?? 0n);
    const old = { allocationId: 'one', expectedRevision: allocation?.revision ?? 0n };
    expect(await failureOf(resources().releaseAllocation(old))).toMatchObject({ code: 'Aborted' });
    const first = await resources().releaseAllocation({ allocationId: 'one', requestId: 'r' });
    const again = await resources().releaseAllocation({ allocationId: 'one', requestId: 'r' });
    expect(again.allocation).toEqual(first.allocation);
    expect(await failureOf(resources().releaseAllocation({ allocationId: 'one' }))).toMatchObject({
      code: 'FailedPrecondition',
      reason: 'ALLOCATION_ENDED',
      message: expect.stringMatching(/ended at .*RELEASED/),
    });
  });

  it('are refused with the reason when there is no room, and waited for when that is asked', async () => {
    await ask(4000n, { allocationId: 'all' });
    const started = performance.now();
    expect(await failureOf(ask(1n))).toMatchObject({ code: 'ResourceExhausted', reason: 'NO_ROOM' });
    expect(performance.now() - started).toBeLessThan(2500);
    expect(await failureOf(ask(1n, { wait: durationFromMs(300) }))).toMatchObject({ reason: 'NO_ROOM' });
    const waits = ask(1n, { allocationId: 'waits', wait: durationFromMs(20_000) });
    await until(
      () => state('waits'),
      (now) => now === Allocation_State.WAITING,
    );
    const { allocations } = await resources().listAllocations({});
    expect(allocations.map(({ id }) => id)).toEqual(['all', 'waits']);
    await resources().releaseAllocation({ allocationId: 'all' });
    expect((await waits).allocation).toMatchObject({ agentId: 'w1', state: Allocation_State.ACTIVE });
    await resources().releaseAllocation({ allocationId: 'waits' });
  });

  it('that no agent has are refused at once, and so is what is no quantity', async () => {
    expect(await failureOf(ask(4001n, { wait: durationFromMs(60_000) }))).toMatchObject({
      code: 'FailedPrecondition',
      reason: 'UNPLACEABLE',
    });
    for (const amount of [0n, -1n, 2n ** 53n, 2n ** 63n - 1n]) {
      expect(await failureOf(ask(amount))).toMatchObject({
        code: 'InvalidArgument',
        message: expect.stringContaining('cpu_milli'),
      });
    }
    const spec = { placement: { selector: 'zone in (a', strategy: 99 }, labels: { owner: 'a b' } };
    const failure = await failureOf(ask(1n, { spec } as Asked));
    expect(failure.code).toBe('InvalidArgument');
    for (const field of ['selector', 'strategy', 'owner']) expect(failure.message).toContain(field);
  });

  it('end with their lease within a second or two', async () => {
    await ask(4000n, { allocationId: 'short' }, 1000);
    await until(
      () => state('short'),
      (now) => now === Allocation_State.EXPIRED,
      { timeoutMs: 5000 * strain() },
    );
    await expect(ask(4000n, { allocationId: 'next' })).resolves.toBeDefined();
    await resources().releaseAllocation({ allocationId: 'next' });
  });

  it('are limited by quotas, which are not lowered below what is taken', async () => {
    const limit = (cpu: bigint) =>
      resources().updateQuota({
        quota: { owner: 'ann', hard: { cpu_milli: cpu }, budgets: [{ name: 'tokens', limit: 10n }] },
      });
    const { quota } = await limit(1000n);
    const of = { spec: { labels: { owner: 'ann' }, budgets: { tokens: 6n } } } as unknown as Asked;
    await ask(800n, { ...of, allocationId: 'hers' });
    expect(await failureOf(ask(201n, of))).toMatchObject({ code: 'ResourceExhausted', reason: 'NO_ROOM' });
    expect(await failureOf(ask(1n, of))).toMatchObject({ reason: 'BUDGET_SPENT' });
    expect(await failureOf(limit(799n))).toMatchObject({
      code: 'FailedPrecondition',
      reason: 'QUOTA_IN_USE',
    });
    const now = await resources().getQuota({ owner: 'ann' });
    expect(now.quota).toMatchObject({ revision: quota?.revision, reserved: { cpu_milli: 800n } });
    expect((await limit(800n)).quota?.hard).toEqual({ cpu_milli: 800n });
    await resources().releaseAllocation({ allocationId: 'hers', spent: { tokens: 4n } });
    await until(
      () => resources().getQuota({ owner: 'ann' }),
      (got) => got.quota?.budgets[0]?.spent === 4n,
    );
    const usage = await resources().getUsage({});
    expect(usage.quotas).toMatchObject([{ owner: 'ann', budgets: [{ spent: 4n, reserved: 0n }] }]);
    await resources().deleteQuota({ owner: 'ann' });
    expect(await failureOf(resources().getQuota({ owner: 'ann' }))).toMatchObject({ code: 'NotFound' });
  });

  it('are explained: where something would go, why not, and what if', async () => {
    const there = await resources().explainPlacement({ capability: 'build', resources: { cpu_milli: 10n } });
    expect(there.explanation).toMatchObject({ placeable: true, agentId: 'w1', couldEver: true, agents: 1 });
    const drained = await resources().explainPlacement({
      capability: 'build',
      whatIf: { drainedAgentIds: ['w1'] },
    });
    expect(drained.explanation).toMatchObject({ placeable: false, reason: PendingReason.AGENTS_AWAY });
    const larger = { agentId: 'w1', capacity: { cpu_milli: 9000n, slots: 1n } };
    const asked = { capability: 'build', resources: { cpu_milli: 9000n } };
    expect((await resources().explainPlacement(asked)).explanation).toMatchObject({
      reason: PendingReason.TOO_LARGE,
    });
    const supposed = await resources().explainPlacement({ ...asked, whatIf: { capacities: [larger] } });
    expect(supposed.explanation?.placeable).toBe(true);
    const quotas = [{ hard: { tasks: 0n } }];
    const limited = await resources().explainPlacement({ capability: 'build', whatIf: { quotas } });
    expect(limited.explanation).toMatchObject({
      placeable: false,
      reason: PendingReason.QUOTA,
      quotas: [{ resource: 'tasks', needed: 1n, limit: 0n }],
    });
    expect(await failureOf(resources().explainPlacement({ taskId: 'none' }))).toMatchObject({
      code: 'NotFound',
    });
  });
});
