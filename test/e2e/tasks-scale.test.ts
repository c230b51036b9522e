import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Task, Task_State } from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  PendingReason,
  PendingReasonSchema,
  Scope,
} from '../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { matches, parseLabelSelector } from '../../src/domain/agent/label-selector.ts';
import { type Random, seeded } from '../support/faults/random.ts';
import { strain } from '../support/faults/strain.ts';
import { Stack, storeKinds } from '../support/stack.ts';
import { RawFleet } from '../support/tasks/raw-fleet.ts';
import type { AgentInit, TaskInit } from '../support/tasks/world.ts';
import { until } from '../support/until.ts';

/** `TASKS_SCALE_AGENTS=1000 npx vitest run --project servers test/e2e/tasks-scale.test.ts`: with ten tasks for each. */
const AGENTS = Number(process.env.TASKS_SCALE_AGENTS ?? 150);
const TASKS = 10 * AGENTS;
const BATCH = 500;
const SEED = Number(process.env.TASKS_SCALE_SEED ?? Math.floor(Math.random() * 1_000_000));
const { NO_CAPABILITY, CONSTRAINTS, TOO_LARGE, AGENTS_AWAY, NO_ROOM, QUOTA, BUDGET } = PendingReason;
const SKILLS = 10;

const nameOf = (reason: PendingReason | undefined): string =>
  PendingReasonSchema.value[reason ?? 0]?.localName ?? `${reason}`;

async function tasksOf(stack: Stack): Promise<Task[]> {
  const all: Task[] = [];
  for (let pageToken = ''; ; ) {
    const page = await stack.clients.tasks.listTasks({ pageSize: 1000, pageToken });
    all.push(...page.tasks);
    pageToken = page.nextPageToken;
    if (pageToken === '') return all;
  }
}

describe.each(storeKinds)('many tasks with all kinds of constraints on %s', (kind) => {
  let stack: Stack;
  let fleet: RawFleet;

  beforeEach(async () => {
    stack = await Stack.start(kind, { env: { ORCHESTRATOR_SESSION_PING_INTERVAL: '1s' } });
    fleet = new RawFleet({ address: stack.service.grpc });
  });
  afterEach(async () => {
    fleet?.close();
    await stack?.dispose();
  });

  it(`${TASKS} tasks on ${AGENTS} agents, seed ${SEED}: all are done that can be, and the others say truly why not`, async () => {
    const random = seeded(SEED);
    await fleet.join(
      Array.from({ length: AGENTS }, (_, index) => ({ id: `a${index}`, spec: member(index) })),
    );
    await stack.clients.resources.updateQuota({ quota: { owner: 'nobody', hard: { tasks: 0n } } });
    await stack.clients.resources.updateQuota({
      quota: { owner: 'poor', budgets: [{ name: 'tokens', limit: 5n }] },
    });
    await stack.clients.resources.updateQuota({ quota: { owner: 'ann', hard: { tasks: 40n }, weight: 3 } });
    // It can do what nobody else can, and is gone.
    const [away] = await fleet.join([{ id: 'away', spec: { capabilities: [{ name: 'rare' }] } }]);
    away?.kill();
    const expected = new Map<string, PendingReason>();
    const tasks = Array.from({ length: TASKS }, (_, index) => {
      const taskId = `t${index}`;
      if (random.chance(0.9)) return { taskId, spec: possible(random) };
      const { spec, reason } = random.pick(IMPOSSIBLE);
      expected.set(taskId, reason);
      return { taskId, spec };
    });
    const fromMs = performance.now();
    for (let at = 0; at < TASKS; at += BATCH) {
      await stack.clients.tasks.batchSubmitTasks({ tasks: tasks.slice(at, at + BATCH) });
    }
    const counts = async () => {
      const page = await stack.clients.tasks.listTasks({ pageSize: 1 });
      return page.counts.reduce((sum, count) => sum + count.tasks, 0);
    };
    const limits = { what: 'tasks to be done', timeoutMs: (10_000 + TASKS * 5) * strain(), everyMs: 100 };
    await until(counts, (left) => left === expected.size, limits);
    const tookMs = Math.round(performance.now() - fromMs);
    const left = await tasksOf(stack);
    const wrong = left
      .filter(({ id, pending }) => pending === undefined || pending.reason !== expected.get(id))
      .map(
        ({ id, pending }) =>
          `${id}: ${nameOf(pending?.reason)}, not ${nameOf(expected.get(id))}: ${pending?.detail}`,
      );
    expect(wrong.slice(0, 10)).toEqual([]);
    const done = await stack.clients.tasks.listTasks({
      pageSize: 1,
      filter: { states: [Task_State.FAILED] },
    });
    expect(done.tasks).toEqual([]);
    console.info(`${TASKS} tasks on ${AGENTS} agents on ${kind}: ${tookMs} ms`);
  });

  it(`on a small fleet whose agents are never done, each task that waits has the reason that an exhaustive search finds, seed ${SEED}`, async () => {
    const random = seeded(SEED + 1);
    const given: { agentId: string; taskId: string }[] = [];
    fleet.onTask = ({ agent, work, task }) => {
      given.push({ agentId: agent.id, taskId: task.id });
      void agent.accept(work);
    };
    const agents = Array.from({ length: 12 }, (_, index) => ({
      id: `a${index}`,
      spec: small(index, random),
    }));
    const joined = await fleet.join(agents);
    const gone = new Set(['a10', 'a11']);
    for (const agent of joined) if (gone.has(agent.id)) agent.kill();
    await until(
      () => stack.clients.agents.listAgents({}),
      ({ agents: list }) => list.filter((agent) => gone.has(agent.id)).every((agent) => agent.liveness !== 2),
      { what: 'two agents to be gone' },
    );
    const specs = new Map<string, TaskInit>();
    const tasks = Array.from({ length: 90 }, (_, index) => {
      const spec = demand(random);
      specs.set(`t${index}`, spec);
      return { taskId: `t${index}`, spec };
    });
    for (let at = 0; at < tasks.length; at += 15) {
      await stack.clients.tasks.batchSubmitTasks({ tasks: tasks.slice(at, at + 15) });
    }
    const search = (): Map<string, PendingReason[]> => {
      const free = new Map(agents.map(({ id, spec }) => [id, { ...capacityOf(spec) }]));
      for (const { agentId, taskId } of given) {
        const has = free.get(agentId) ?? {};
        for (const [name, amount] of Object.entries(needsOf(specs.get(taskId)))) {
          has[name] = (has[name] ?? 0n) - amount;
        }
      }
      const placed = new Set(given.map(({ taskId }) => taskId));
      const waits = [...specs].filter(([id]) => !placed.has(id));
      return new Map(waits.map(([id, spec]) => [id, reasonsOf(spec, agents, gone, free)]));
    };
    const compare = async (): Promise<string[]> => {
      const found = search();
      const told = await tasksOf(stack);
      const states = told.filter(({ state }) => state === Task_State.PENDING);
      if (states.length !== found.size) return [`${states.length} wait, not ${found.size}`];
      return states
        .filter(({ id, pending }) => !found.get(id)?.includes(pending?.reason ?? 0))
        .map(({ id, pending }) => {
          const should = (found.get(id) ?? []).map(nameOf).join(' or ') || 'placed';
          return `${id}: ${nameOf(pending?.reason)} (${pending?.detail}), not ${should}`;
        });
    };
    await until(compare, (wrong) => wrong.length === 0, {
      what: 'what waits to be told truly',
      timeoutMs: 8_000,
    });
    const free = search();
    expect(free.size).toBeGreaterThan(10);
    for (const { agentId, taskId } of given) {
      const spec = agents.find(({ id }) => id === agentId)?.spec;
      expect(mayHave(specs.get(taskId) ?? {}, agentId, spec ?? {}), `${taskId} on ${agentId}`).toBe(true);
    }
  });
});

/** One of a large fleet. */
function member(index: number): AgentInit {
  return {
    capabilities: [...new Set([index % SKILLS, (index * 7) % SKILLS, (index + 3) % SKILLS])].map((skill) => ({
      ...{ name: `skill-${skill}`, version: index % 2 === 0 ? '1.4.0' : '2.0.0' },
    })),
    labels: {
      zone: `z${index % 4}`,
      'topology.kubernetes.io/zone': `z${index % 4}`,
      tier: index % 3 === 0 ? 'fast' : 'slow',
    },
    capacity: { slots: 4n, cpu_milli: 2_000n, ...(index % 5 === 0 && { gpu: 1n }) },
  };
}

/** Something that some agent of a large fleet can do. */
function possible(random: Random): TaskInit {
  return {
    capability: `skill-${random.between(0, SKILLS - 1)}`,
    resources: { cpu_milli: BigInt(random.between(50, 1_900)) },
    priority: random.between(-20, 20),
    placement: {
      ...(random.chance(0.2) && { capabilityVersion: '>=1.0' }),
      ...(random.chance(0.2) && {
        selector: random.pick(['zone in (z0, z1)', 'zone!=z2', 'tier in (fast, slow)']),
      }),
      ...(random.chance(0.1) && { notAgentIds: ['a0', 'a1'] }),
      ...(random.chance(0.1) && { maxPerAgent: 2, group: 'few' }),
      ...(random.chance(0.1) && { spreads: [{ scope: Scope.ZONE, maxSkew: 2, required: false }] }),
      ...(random.chance(0.1) && {
        affinities: [{ group: 'few', scope: Scope.ZONE, apart: true, required: false }],
      }),
    },
    labels: random.chance(0.3) ? { owner: 'ann' } : {},
  };
}

const IMPOSSIBLE: { spec: TaskInit; reason: PendingReason }[] = [
  { reason: NO_CAPABILITY, spec: { capability: 'unknown' } },
  { reason: NO_CAPABILITY, spec: { capability: 'skill-1', placement: { capabilityVersion: '>=3' } } },
  { reason: CONSTRAINTS, spec: { capability: 'skill-2', placement: { selector: 'zone=z9' } } },
  { reason: CONSTRAINTS, spec: { capability: 'skill-3', placement: { agentIds: ['nobody'] } } },
  { reason: TOO_LARGE, spec: { capability: 'skill-4', resources: { cpu_milli: 2_001n } } },
  { reason: TOO_LARGE, spec: { capability: 'skill-5', resources: { gpu: 2n } } },
  { reason: AGENTS_AWAY, spec: { capability: 'rare' } },
  { reason: QUOTA, spec: { capability: 'skill-6', labels: { owner: 'nobody' } } },
  { reason: BUDGET, spec: { capability: 'skill-7', labels: { owner: 'poor' }, budgets: { tokens: 6n } } },
];

/** One of a small fleet. */
function small(index: number, random: Random): AgentInit {
  const skills = [
    `skill-${index % 3}`,
    ...(random.chance(0.3) ? ['skill-3'] : []),
    ...(index >= 10 ? ['skill-4'] : []),
  ];
  return {
    capabilities: skills.map((name) => ({ name })),
    labels: { zone: `z${index % 3}`, tier: random.pick(['fast', 'slow']) },
    capacity: { slots: BigInt(random.between(1, 5)), cpu_milli: BigInt(random.pick([500, 1_000, 1_500])) },
  };
}

function demand(random: Random): TaskInit {
  return {
    capability: `skill-${random.between(0, 5)}`,
    resources: {
      cpu_milli: BigInt(random.pick([100, 200, 400, 900, 1_400, 1_600])),
      ...(random.chance(0.1) && { slots: BigInt(random.between(2, 6)) }),
      ...(random.chance(0.05) && { gpu: 1n }),
    },
    placement: {
      ...(random.chance(0.3) && {
        selector: random.pick(['zone=z0', 'zone!=z1', 'tier=fast', 'tier=none', 'zone in (z1,z2)']),
      }),
      ...(random.chance(0.1) && { agentIds: ['a1', 'a2', 'a10'] }),
      ...(random.chance(0.1) && { notAgentIds: ['a3', 'a4'] }),
    },
  };
}

const capacityOf = (spec: AgentInit): Record<string, bigint> => ({ ...spec.capacity });
const needsOf = (spec: TaskInit | undefined): Record<string, bigint> => ({ slots: 1n, ...spec?.resources });

function mayHave({ capability, placement = {} }: TaskInit, id: string, spec: AgentInit): boolean {
  const { selector = '', agentIds = [], notAgentIds = [] } = placement;
  return (
    (spec.capabilities ?? []).some(({ name }) => name === capability) &&
    matches(parseLabelSelector(selector), spec.labels ?? {}) &&
    (agentIds.length === 0 || agentIds.includes(id)) &&
    !notAgentIds.includes(id)
  );
}

/** Every agent is looked at, for each thing in its turn. Of two reasons that both hold either may be told; none: it fits. */
function reasonsOf(
  task: TaskInit,
  agents: readonly { id: string; spec: AgentInit }[],
  gone: ReadonlySet<string>,
  free: ReadonlyMap<string, Record<string, bigint>>,
): PendingReason[] {
  const needs = Object.entries(needsOf(task));
  const able = agents.filter(({ spec }) => spec.capabilities?.some(({ name }) => name === task.capability));
  if (able.length === 0) return [NO_CAPABILITY];
  const allowed = able.filter(({ id, spec }) => mayHave(task, id, spec));
  if (allowed.length === 0) return [CONSTRAINTS];
  const large = allowed.filter(({ spec }) =>
    needs.every(([name, amount]) => (capacityOf(spec)[name] ?? 0n) >= amount),
  );
  if (large.length === 0) return [TOO_LARGE];
  const there = large.filter(({ id }) => !gone.has(id));
  if (there.length === 0) return [AGENTS_AWAY];
  const fits = there.filter(({ id }) =>
    needs.every(([name, amount]) => (free.get(id)?.[name] ?? 0n) >= amount),
  );
  if (fits.length > 0) return [];
  return there.length < large.length ? [NO_ROOM, AGENTS_AWAY] : [NO_ROOM];
}
