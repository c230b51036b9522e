import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { AgentSpecSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  TaskSpec_OnBudgetSpent,
  TaskSpec_OnLoss,
  TaskSpec_Winner,
  type TaskSpecSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  Placement_Strategy,
  type PlacementSchema,
  Scope,
} from '../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type { QuotaSchema } from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { Random } from '../faults/random.ts';

/** A small world with everything in it that tasks can ask for: agents, quotas, and tasks drawn by chance. */
export type AgentInit = Exclude<MessageInitShape<typeof AgentSpecSchema>, { $typeName: string }>;
export type TaskInit = Exclude<MessageInitShape<typeof TaskSpecSchema>, { $typeName: string }>;
type PlacementInit = Exclude<MessageInitShape<typeof PlacementSchema>, { $typeName: string }>;
type QuotaInit = Exclude<MessageInitShape<typeof QuotaSchema>, { $typeName: string }>;

export const OWNERS = ['ann', 'bob', ''] as const;
const CAPABILITIES = ['sum', 'draw', 'read'];
const ZONE = 'topology.kubernetes.io/zone';
const KEYS = ['k1', 'k2', 'k3'];
/** Of an agent. */
const CPU = 1_000;

export function agentSpec(index: number, random: Random): AgentInit {
  const names = CAPABILITIES.filter((_, at) => at === index % CAPABILITIES.length || random.chance(0.5));
  const cpu = BigInt(random.pick([500, CPU, 2 * CPU]));
  return {
    capabilities: names.map((name) => ({ name, version: random.pick(['1.2.0', '2.0.1']) })),
    labels: { [ZONE]: `z${index % 3}`, tier: index % 2 === 0 ? 'fast' : 'slow' },
    // One in four says nothing of slots.
    capacity: {
      cpu_milli: cpu,
      ...(index % 4 !== 3 && { slots: BigInt(random.between(1, 4)) }),
      gpu: index % 5 === 0 ? 1n : 0n,
    },
  };
}

/** Quotas that bind now and then; `wide`: nothing binds any more. */
export function quotaOf(owner: string, random: Random, wide = false): QuotaInit {
  const limit = (least: number, most: number): bigint =>
    wide ? 1_000_000_000n : BigInt(random.between(least, most));
  if (owner === '') {
    return { owner, hard: { tasks: limit(8, 30) }, budgets: [{ name: 'tokens', limit: limit(400, 4_000) }] };
  }
  return {
    owner,
    weight: owner === 'ann' ? 3 : 1,
    hard: { tasks: limit(3, 12), cpu_milli: limit(2_000, 6_000) },
    soft: { tasks: 3n },
    budgets: [
      { name: 'tokens', limit: limit(200, 2_000) },
      ...(owner === 'bob' ? [{ name: 'calls', limit: limit(20, 60), period: durationFromMs(2_000) }] : []),
    ],
  };
}

/** @param parent whose part it is, with what it may give */
export function taskSpec(
  random: Random,
  parent?: { id: string; owner: string; budgets: Record<string, bigint> },
): TaskInit {
  const owner = parent?.owner ?? random.pick(OWNERS);
  const budgets: Record<string, bigint> = {};
  if (parent !== undefined) {
    for (const [name, amount] of Object.entries(parent.budgets)) {
      if (random.chance(0.7))
        budgets[name] = BigInt(random.between(1, Math.max(1, Math.floor(Number(amount) / 2))));
    }
  } else if (random.chance(0.4)) {
    budgets.tokens = BigInt(random.between(5, 60));
    if (owner === 'bob' && random.chance(0.5)) budgets.calls = BigInt(random.between(1, 8));
  }
  const { WAIT, RECONCILE, REPLACE } = TaskSpec_OnLoss;
  const { FIRST_RESULT, ORIGINAL, REPLACEMENT } = TaskSpec_Winner;
  const { STOP, DEGRADE, ASK } = TaskSpec_OnBudgetSpent;
  const onLoss = random.pick([REPLACE, WAIT, RECONCILE]);
  return {
    capability: random.pick(CAPABILITIES),
    input: { data: { case: 'text', value: 'x'.repeat(random.chance(0.1) ? 3_000 : 10) } },
    placement: placement(random),
    resources: {
      cpu_milli: BigInt(random.between(50, 450)),
      ...(random.chance(0.05) && { gpu: 1n }),
      ...(random.chance(0.1) && { slots: 2n }),
    },
    budgets,
    priority: random.between(-10, 10),
    ...(random.chance(0.08) && { deadline: durationFromMs(random.between(300, 4_000)) }),
    ...(random.chance(0.1) && { attemptTimeout: durationFromMs(random.between(200, 1_000)) }),
    retry: {
      maxAttempts: random.between(2, 20),
      minBackoff: durationFromMs(20),
      maxBackoff: durationFromMs(300),
    },
    onLoss,
    ...(onLoss === WAIT &&
      random.chance(0.5) && { waitForAgent: durationFromMs(random.between(1_000, 2_000)) }),
    ...(onLoss === RECONCILE && { winner: random.pick([FIRST_RESULT, ORIGINAL, REPLACEMENT]) }),
    orderingKey: random.chance(0.2) ? random.pick(KEYS) : '',
    parentTaskId: parent?.id ?? '',
    onBudgetSpent: random.pick([STOP, DEGRADE, ASK]),
    labels: owner === '' ? {} : { owner },
    movable: random.chance(0.3),
    ...(random.chance(0.2) && { acceptWithin: durationFromMs(random.between(200, 600)) }),
  };
}

function placement(random: Random): PlacementInit {
  const { BINPACK, SPREAD, LEAST_LOADED } = Placement_Strategy;
  return {
    strategy: random.pick([BINPACK, SPREAD, LEAST_LOADED]),
    ...(random.chance(0.15) && {
      selector: random.pick(['tier=fast', 'tier in (fast, slow)', `${ZONE}!=z2`]),
    }),
    ...(random.chance(0.1) && { capabilityVersion: random.pick(['>=1.0', '^2.0.0']) }),
    ...(random.chance(0.1) && { maxPerAgent: 2, group: 'few' }),
    ...(random.chance(0.1) && {
      group: 'near',
      affinities: [{ group: 'near', scope: Scope.ZONE, apart: random.chance(0.5), required: false }],
    }),
    ...(random.chance(0.05) && { spreads: [{ scope: Scope.ZONE, maxSkew: 3, required: false }] }),
  };
}
