import {
  type Affinity,
  AffinitySchema,
  type Placement,
  Placement_StrategySchema,
  PlacementSchema,
  Scope,
  ScopeSchema,
  type Spread,
  SpreadSchema,
} from '../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  Allocation_StateSchema,
  type AllocationSpec,
  AllocationSpecSchema,
  ApplyRebalanceRequestSchema,
  type Budget,
  BudgetSchema,
  CreateAllocationRequestSchema,
  DeleteQuotaRequestSchema,
  ExplainPlacementRequestSchema,
  GetAllocationRequestSchema,
  GetQuotaRequestSchema,
  GetUsageRequestSchema,
  ListAllocationsRequestSchema,
  ListQuotasRequestSchema,
  PlanRebalanceRequest_GoalSchema,
  PlanRebalanceRequestSchema,
  type Quota,
  QuotaSchema,
  ReleaseAllocationRequestSchema,
  RenewAllocationRequestSchema,
  type SupposedCapacity,
  SupposedCapacitySchema,
  UpdateQuotaRequestSchema,
  type WhatIf,
  WhatIfSchema,
} from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { quote } from '../../lib/violations.ts';
import { labelSelector } from './agent-filter.ts';
import { labels, labelValueFault } from './labels.ts';
import { atMost, between, duration, known, notNegative } from './numbers.ts';
import { pageToken, type RequestRule, request } from './request-rules.ts';
import { anything, list, map, message, optional, type Rule, required } from './rules.ts';
import { agentId, line, namespace, optionalAgentId, pathName, requestId, visible, word } from './text.ts';

const SECOND_MS = 1000;
const HOUR_MS = 3600 * SECOND_MS;
const DAY_MS = 24 * HOUR_MS;

/** The most that one quantity may be: up to it doubles count exactly. */
export const MAX_QUANTITY = 2n ** 53n - 1n;

const amount =
  (min: bigint): Rule<bigint> =>
  (violations, value) => {
    if (value < min || value > MAX_QUANTITY) violations.add(`is ${value}; ${min} to 2^53 - 1 is allowed`);
  };

/** The name of a resource or budget. */
export const quantityName = pathName(64);

/** What is asked for of resources: at most 16, each 1 to 2^53 - 1. */
export const quantities = map<bigint>({ max: 16, key: quantityName, value: amount(1n) });
/** What is asked for of budgets: at most 16, each 1 to 2^53 - 1. */
export const budgets = quantities;
/** What was spent of budgets: at most 16, each 0 to 2^53 - 1. */
export const spentQuantities = map<bigint>({ max: 16, key: quantityName, value: amount(0n) });

const path = (max: number, allowed: string, pattern: RegExp, empty: 'allowed' | 'refused') =>
  word({ max, empty, pattern, allowed });
const PATH = /^[A-Za-z0-9._/-]+$/;
const PATH_ALLOWED = 'of characters [A-Za-z0-9._/-]';

/** A capability that may be left out. */
export const optionalCapability = path(128, PATH_ALLOWED, PATH, 'allowed');

const affinity: Rule<Affinity> = message(AffinitySchema, {
  group: path(128, PATH_ALLOWED, PATH, 'refused'),
  scope: known(ScopeSchema, 'allowed'),
  apart: anything,
  required: anything,
  weight: atMost(100),
});

const spread: Rule<Spread> = message(SpreadSchema, {
  scope: known(ScopeSchema, 'allowed'),
  maxSkew: anything,
  required: anything,
});

const scopeOf = ({ scope }: Spread): string => `${scope === Scope.UNSPECIFIED ? Scope.AGENT : scope}`;
const agentIds = list({ max: 64, item: agentId, distinct: (id) => id });

/** Which agents may be chosen; for tasks and allocations. */
export const placement: Rule<Placement> = message(
  PlacementSchema,
  {
    capabilityVersion: line(64),
    selector: labelSelector,
    agentIds,
    notAgentIds: agentIds,
    strategy: known(Placement_StrategySchema, 'allowed'),
    affinities: list({ max: 8, item: affinity }),
    spreads: list({ max: 2, item: spread, distinct: scopeOf }),
    maxPerAgent: anything,
    group: path(128, PATH_ALLOWED, PATH, 'allowed'),
  },
  (violations, given) => {
    if (given.agentIds.length === 0) return;
    const never = new Set(given.notAgentIds);
    if (given.agentIds.every((id) => never.has(id))) {
      violations.addAt('not_agent_ids', 'names every agent of agent_ids: nothing is left');
    }
  },
);

/** A version without a capability means nothing; for messages that have both. */
export const versionNeedsCapability: Rule<{ capability: string; placement?: Placement | undefined }> = (
  violations,
  given,
) => {
  if (given.capability !== '' || (given.placement?.capabilityVersion ?? '') === '') return;
  violations.enter('placement');
  violations.addAt('capability_version', 'needs a capability that has it');
  violations.leave();
};

/** Whose quota it is: what the label "owner" may say. */
export const owner: Rule<string> = (violations, text) => {
  const fault = labelValueFault(text);
  if (fault !== undefined) violations.add(`${quote(text)} ${fault}`);
};

const lease = duration({ minMs: SECOND_MS, maxMs: 30 * DAY_MS, range: '1 s to 30 days' });

const allocationSpec: Rule<AllocationSpec> = message(
  AllocationSpecSchema,
  {
    capability: optionalCapability,
    placement: optional(placement),
    resources: quantities,
    budgets,
    lease: required(lease),
    labels,
    priority: between(-100, 100),
    holder: line(256),
  },
  (violations, spec) => {
    versionNeedsCapability(violations, spec);
    if (Object.keys(spec.resources).length + Object.keys(spec.budgets).length === 0) {
      violations.addAt('resources', 'must not be empty, or budgets must not');
    }
  },
);

/** Without "/", which stands in the names of tasks' reservations. */
const newAllocationId = path(
  128,
  'of visible ASCII characters without "/" and spaces',
  /^[\x21-\x2e\x30-\x7e]+$/,
  'allowed',
);
const allocationId = visible(128, 'refused');

const limits = map<bigint>({ max: 64, key: quantityName, value: amount(0n) });

const budget: Rule<Budget> = message(BudgetSchema, {
  name: quantityName,
  limit: amount(0n),
  period: duration({ minMs: SECOND_MS, maxMs: 366 * DAY_MS, range: '1 s to 366 days' }),
  // Output only.
  spent: anything,
  reserved: anything,
  periodEndTime: anything,
});

/** Below it one start would count for longer than any share is kept. */
const MIN_WEIGHT = 0.001;
const MAX_WEIGHT = 1000;

const weight: Rule<number> = (violations, value) => {
  // Also NaN is neither.
  if (value === 0 || (value >= MIN_WEIGHT && value <= MAX_WEIGHT)) return;
  violations.add(`is ${value}; 0.001 to 1,000 is allowed, and 0 for 1`);
};

const quota: Rule<Quota> = message(QuotaSchema, {
  namespace,
  owner,
  hard: limits,
  soft: limits,
  budgets: list({ max: 64, item: budget, distinct: ({ name }) => name }),
  weight,
  // Output only.
  reserved: anything,
  actor: anything,
  updateTime: anything,
  revision: anything,
});

const supposed: Rule<SupposedCapacity> = message(SupposedCapacitySchema, { agentId, capacity: limits });

const whatIf: Rule<WhatIf> = message(WhatIfSchema, {
  drainedAgentIds: list({ max: 256, item: agentId, distinct: (id) => id }),
  quotas: list({ max: 16, item: quota, distinct: (item) => item.owner }),
  capacities: list({ max: 256, item: supposed, distinct: (item) => item.agentId }),
});

/** The id of a task. */
export const optionalTaskId = path(64, 'of characters [A-Za-z0-9._-]', /^[A-Za-z0-9._-]+$/, 'allowed');

const page = { pageSize: notNegative, pageToken };
const expectedRevision = notNegative;
const minRevision = notNegative;

/** The rules of requests about resources. */
export const resourceRules: readonly RequestRule[] = [
  request(CreateAllocationRequestSchema, {
    namespace,
    allocationId: newAllocationId,
    spec: required(allocationSpec),
    wait: duration({ minMs: 0, maxMs: HOUR_MS, range: '0 to 1 h' }),
    requestId,
  }),
  request(RenewAllocationRequestSchema, {
    namespace,
    allocationId,
    lease,
    spent: spentQuantities,
    expectedRevision,
  }),
  request(ReleaseAllocationRequestSchema, {
    namespace,
    allocationId,
    spent: spentQuantities,
    expectedRevision,
    requestId,
  }),
  request(GetAllocationRequestSchema, { namespace, allocationId, minRevision }),
  request(ListAllocationsRequestSchema, {
    namespace,
    ...page,
    agentId: optionalAgentId,
    owner: optional(owner),
    states: list({ max: 16, item: known(Allocation_StateSchema, 'refused') }),
    withTasks: anything,
    minRevision,
  }),
  request(GetUsageRequestSchema, {
    namespace,
    withAgents: anything,
    ...page,
    selector: labelSelector,
    minRevision,
  }),
  request(
    ExplainPlacementRequestSchema,
    {
      namespace,
      taskId: optionalTaskId,
      capability: optionalCapability,
      placement: optional(placement),
      resources: quantities,
      budgets,
      owner,
      whatIf: optional(whatIf),
    },
    (violations, given) => {
      versionNeedsCapability(violations, given);
      if (given.taskId === '') return;
      const others = [
        ['capability', given.capability !== ''],
        ['placement', given.placement !== undefined],
        ['resources', Object.keys(given.resources).length > 0],
        ['budgets', Object.keys(given.budgets).length > 0],
        ['owner', given.owner !== ''],
      ] as const;
      for (const [field, isGiven] of others) {
        if (isGiven) violations.addAt(field, 'is not allowed with task_id: the task says it');
      }
    },
  ),
  request(UpdateQuotaRequestSchema, {
    quota: required(quota),
    expectedRevision,
    resetSpent: anything,
    requestId,
  }),
  request(GetQuotaRequestSchema, { namespace, owner, minRevision }),
  request(ListQuotasRequestSchema, { namespace, ...page, minRevision }),
  request(DeleteQuotaRequestSchema, { namespace, owner, expectedRevision, requestId }),
  request(PlanRebalanceRequestSchema, {
    namespace,
    goals: list({
      max: 8,
      item: known(PlanRebalanceRequest_GoalSchema, 'refused'),
      distinct: (goal) => `${goal}`,
    }),
    maxMoves: between(0, 100),
  }),
  request(ApplyRebalanceRequestSchema, { namespace, planId: visible(128, 'refused'), requestId }),
];
