import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import {
  AllocationSpecSchema,
  CreateAllocationRequestSchema,
  ExplainPlacementRequestSchema,
  ListAllocationsRequestSchema,
  PlanRebalanceRequestSchema,
  QuotaSchema,
  RenewAllocationRequestSchema,
  UpdateQuotaRequestSchema,
} from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { validateRequest } from '../../../src/domain/validation/requests.ts';
import { durationFromMs } from '../../../src/lib/proto-time.ts';

type Spec = Exclude<MessageInitShape<typeof AllocationSpecSchema>, { $typeName: string }>;
type Quota = Exclude<MessageInitShape<typeof QuotaSchema>, { $typeName: string }>;
const told = (request: Parameters<typeof validateRequest>[0]) =>
  validateRequest(request).map(({ field, description }) => `${field} ${description}`);
const lease = durationFromMs(60_000);
const MOST = 2n ** 53n - 1n;
const asked = (spec: Spec, more: object = {}) =>
  told(
    create(CreateAllocationRequestSchema, {
      ...more,
      spec: create(AllocationSpecSchema, { resources: { cpu: 1n }, lease, ...spec }),
    }),
  );
const set = (quota: Quota) => told(create(UpdateQuotaRequestSchema, { quota: create(QuotaSchema, quota) }));

describe('what CreateAllocation may be asked for', () => {
  it.each<[string, Spec]>([
    ['the most of everything', { resources: { cpu: MOST }, budgets: { 'a/b.c-d_e': MOST }, priority: 100 }],
    ['budgets alone', { resources: {}, budgets: { tokens: 1n } }],
    ['what is called as what objects have', { resources: { constructor: 1n, toString: 2n } }],
    ['a version', { capability: 'build', placement: { capabilityVersion: '>=1.2 <2' } }],
    [
      'groups',
      { placement: { group: 'a/b', affinities: [{ group: 'c', weight: 100 }], spreads: [{ scope: 2 }] } },
    ],
    ['the longest lease', { lease: durationFromMs(30 * 24 * 3_600_000) }],
  ])('%s', (_, spec) => expect(asked(spec)).toEqual([]));

  it.each<[string, Spec, string]>([
    ['nothing', { resources: {} }, 'spec.resources must not be empty, or budgets must not'],
    ['none of it', { resources: { cpu: 0n } }, 'spec.resources["cpu"] is 0; 1 to 2^53 - 1 is allowed'],
    ['less than none', { resources: { cpu: -1n } }, 'spec.resources["cpu"] is -1;'],
    [
      'more than counts exactly',
      { budgets: { tokens: MOST + 1n } },
      'spec.budgets["tokens"] is 9007199254740992;',
    ],
    ['a name with a space', { resources: { 'c p u': 1n } }, 'spec.resources["c p u"] is "c p u"; must be'],
    ['a name that is none', { resources: { '': 1n } }, 'spec.resources[""] must not be empty'],
    ['no lease', { lease: undefined as never }, 'spec.lease must be given'],
    ['a lease of nothing', { lease: durationFromMs(0) }, 'spec.lease is 0 s; 1 s to 30 days is allowed'],
    ['too great a priority', { priority: 101 }, 'spec.priority is 101; -100 to 100 is allowed'],
    ['a label that is none', { labels: { owner: 'a b' } }, 'spec.labels["owner"] value "a b" must be of'],
    [
      'a selector that does not parse',
      { placement: { selector: 'zone in (a' } },
      'spec.placement.selector at position 11: found the end, expected "," or ")"',
    ],
    [
      'an unknown strategy',
      { placement: { strategy: 9 as never } },
      'spec.placement.strategy is "9"; must be one of',
    ],
    [
      'an agent twice',
      { placement: { agentIds: ['a', 'a'] } },
      'spec.placement.agent_ids[1] repeats entry 0',
    ],
    [
      'no agent that may be taken',
      { placement: { agentIds: ['a'], notAgentIds: ['a', 'b'] } },
      'spec.placement.not_agent_ids names every agent of agent_ids',
    ],
    [
      'a wish that counts too much',
      { placement: { affinities: [{ group: 'g', weight: 101 }] } },
      'affinities[0].weight is 101',
    ],
    ['an affinity to nothing', { placement: { affinities: [{}] } }, 'affinities[0].group must not be empty'],
    [
      'two spreads over agents',
      { placement: { spreads: [{ scope: 0 }, { scope: 1 }] } },
      'spreads[1] repeats entry 0',
    ],
    [
      'a version of nothing',
      { placement: { capabilityVersion: '1' } },
      'capability_version needs a capability',
    ],
  ])('but not %s', (_, spec, fault) => {
    const faults = asked(spec);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toContain(fault);
  });

  it('but not by the name of a task, or for longer than an hour', () => {
    expect(asked({}, { allocationId: 'task/a/1' })).toEqual([
      expect.stringContaining('allocation_id is "task/a/1"'),
    ]);
    expect(asked({}, { wait: durationFromMs(3_600_001) })).toEqual([
      expect.stringContaining('wait is 3600.001 s'),
    ]);
  });

  it('and every mistake is told at once', () => {
    const faults = asked({ resources: { cpu: 0n, 'a b': -1n }, priority: 1000, labels: { '-': 'x' } });
    expect(faults).toHaveLength(5);
  });
});

describe('what other requests about resources may say', () => {
  it.each([0, 0.001, 1, 1000])('a weight of %d', (weight) => {
    expect(set({ weight })).toEqual([]);
  });

  it.each<[string, string[], RegExp]>([
    ['an owner that no label can have', set({ owner: '-' }), /quota\.owner "-" must be/],
    ['a limit below nothing', set({ hard: { cpu: -1n } }), /quota\.hard\["cpu"\] is -1; 0 to 2\^53 - 1/],
    ['a budget twice', set({ budgets: [{ name: 'a' }, { name: 'a' }] }), /budgets\[1\] repeats entry 0/],
    ['a weight that is no number', set({ weight: Number.NaN }), /weight is NaN; 0\.001 to 1,000/],
    ['an infinite weight', set({ weight: Number.POSITIVE_INFINITY }), /weight is Infinity; 0\.001 to 1,000/],
    ['a weight below nothing', set({ weight: -1 }), /weight is -1; 0\.001 to 1,000/],
    ['a weight of next to nothing', set({ weight: Number.MIN_VALUE }), /weight is 5e-324; 0\.001 to 1,000/],
    ['a weight above the most', set({ weight: 1000.1 }), /weight is 1000\.1; 0\.001 to 1,000/],
    [
      'a period that is too short',
      set({ budgets: [{ name: 'a', period: durationFromMs(999) }] }),
      /period is 0\.999 s/,
    ],
    ['no quota', told(create(UpdateQuotaRequestSchema)), /^quota must be given/],
    [
      'less than nothing spent',
      told(create(RenewAllocationRequestSchema, { allocationId: 'a', spent: { t: -1n } })),
      /spent\["t"\] is -1/,
    ],
    [
      'a state that is none',
      told(create(ListAllocationsRequestSchema, { states: [0] })),
      /states\[0\] is STATE_UNSPECIFIED/,
    ],
    [
      'a goal that is none',
      told(create(PlanRebalanceRequestSchema, { goals: [0] })),
      /goals\[0\] is GOAL_UNSPECIFIED/,
    ],
    ['too many moves', told(create(PlanRebalanceRequestSchema, { maxMoves: 101 })), /max_moves is 101/],
    [
      'a task and what it says',
      told(create(ExplainPlacementRequestSchema, { taskId: 't', owner: 'ann' })),
      /^owner is not allowed with task_id/,
    ],
  ])('refuses %s', (_, faults, expected) => {
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(expected);
  });

  it('takes a quota with limits of nothing, and what a caller read back', () => {
    expect(
      set({ owner: '', hard: { tasks: 0n }, budgets: [{ name: 'a', limit: 0n, spent: -5n }], revision: 9n }),
    ).toEqual([]);
  });
});
