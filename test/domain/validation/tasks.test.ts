import { create, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import {
  BatchSubmitTasksRequestSchema,
  CancelTaskRequestSchema,
  ExplainTaskRequestSchema,
  GetTaskRequestSchema,
  GrantTaskBudgetRequestSchema,
  ListTasksRequestSchema,
  SubmitTaskRequestSchema,
  Task_State,
  TaskSpec_OnLoss,
  TaskSpec_Winner,
  type TaskSpecSchema,
  WatchTasksRequestSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { Scope } from '../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { validateRequest } from '../../../src/domain/validation/requests.ts';
import { encodeCursor } from '../../../src/lib/cursor.ts';
import { durationFromMs } from '../../../src/lib/proto-time.ts';

type Init<S extends DescMessage> = Exclude<MessageInitShape<S>, { $typeName: string }>;
type Spec = Init<typeof TaskSpecSchema>;
type Submit = Init<typeof SubmitTaskRequestSchema>;

const faults = <S extends DescMessage>(schema: S, init: MessageInitShape<S>): string[] =>
  validateRequest(create(schema, init)).map(({ field, description }) => `${field} ${description}`);
const submit = (spec: Spec) => faults(SubmitTaskRequestSchema, { spec: { capability: 'sum', ...spec } });
const text = (value: string) => ({ data: { case: 'text' as const, value } });
const many = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));
const entries = (count: number) => Object.fromEntries(many(count, (index) => [`r${index}`, 1n]));

const DAY_MS = 24 * 3600 * 1000;

describe('a task', () => {
  it.each<[string, Spec]>([
    ['of nothing but its capability', {}],
    ['with the longest capability', { capability: 'a/b'.padEnd(128, 'c') }],
    ['with 64 KiB of input', { input: text('x'.repeat(65_536)) }],
    ['with the least and the most of everything', { resources: { a: 1n, 'gpu/a100': 2n ** 53n - 1n } }],
    ['with 16 resources and 16 budgets', { resources: entries(16), budgets: entries(16) }],
    ['of the lowest priority', { priority: -100 }],
    ['of the highest priority', { priority: 100 }],
    ['with the shortest times', { deadline: durationFromMs(100), attemptTimeout: durationFromMs(100) }],
    ['with the longest time', { deadline: durationFromMs(365 * DAY_MS) }],
    ['tried again at once', { retry: { maxAttempts: 1000, minBackoff: durationFromMs(0) } }],
    ['that waits', { onLoss: TaskSpec_OnLoss.WAIT, waitForAgent: durationFromMs(1000) }],
    ['whose original wins', { onLoss: TaskSpec_OnLoss.RECONCILE, winner: TaskSpec_Winner.ORIGINAL }],
    ['with an ordering key', { orderingKey: 'customer:7/§'.replace('§', '~') }],
    ['with labels', { labels: { owner: 'team-a', 'example.com/x': '' } }],
    [
      'placed with care',
      {
        placement: {
          capabilityVersion: '>=1.2 <2',
          selector: 'tier in (web, db), !spot',
          agentIds: many(64, (index) => `a${index}`),
          affinities: [{ group: 'sum', scope: Scope.ZONE, apart: true, weight: 100 }],
          spreads: [{ scope: Scope.AGENT }, { scope: Scope.ZONE, maxSkew: 2, required: true }],
          maxPerAgent: 3,
          group: 'batch/7',
        },
      },
    ],
  ])('%s may be submitted', (_, spec) => expect(submit(spec)).toEqual([]));

  it.each<[string, Spec, string]>([
    ['an empty capability', { capability: '' }, 'spec.capability must not be empty'],
    ['a capability with a space', { capability: 'a b' }, 'spec.capability is "a b"; must be of characters'],
    ['a long capability', { capability: 'x'.repeat(129) }, 'spec.capability has 129 characters'],
    ['too much input', { input: text('x'.repeat(65_537)) }, 'spec.input has 65537 bytes; at most 65536'],
    ['too much input by its bytes', { input: text('é'.repeat(32_769)) }, 'spec.input has 65538 bytes'],
    ['input of no media type', { input: { contentType: 'x' } }, 'spec.input.content_type is "x"'],
    ['zero of a resource', { resources: { cpu_milli: 0n } }, 'spec.resources["cpu_milli"] is 0; 1 to 2^53'],
    ['a negative amount', { resources: { cpu_milli: -1n } }, 'spec.resources["cpu_milli"] is -1; 1 to'],
    [
      'an overflowing amount',
      { resources: { m: 2n ** 53n + 1n } },
      'spec.resources["m"] is 9007199254740993',
    ],
    ['the largest number of 64 bits', { resources: { m: 2n ** 63n - 1n } }, 'spec.resources["m"] is 9223372'],
    ['a resource without a name', { resources: { '': 1n } }, 'spec.resources[""] must not be empty'],
    ['a resource with a space', { resources: { 'a b': 1n } }, 'spec.resources["a b"] is "a b"; must be'],
    ['17 resources', { resources: entries(17) }, 'spec.resources has 17 entries; at most 16'],
    ['a budget of nothing', { budgets: { tokens: 0n } }, 'spec.budgets["tokens"] is 0'],
    ['a negative budget', { budgets: { tokens: -5n } }, 'spec.budgets["tokens"] is -5'],
    ['17 budgets', { budgets: entries(17) }, 'spec.budgets has 17 entries; at most 16'],
    ['too low a priority', { priority: -101 }, 'spec.priority is -101; -100 to 100 is allowed'],
    ['too high a priority', { priority: 101 }, 'spec.priority is 101; -100 to 100 is allowed'],
    ['a deadline that is over', { deadline: durationFromMs(-1) }, 'spec.deadline is -0.001 s; 100 ms to'],
    ['too short a deadline', { deadline: durationFromMs(99) }, 'spec.deadline is 0.099 s; 100 ms to'],
    ['a deadline beyond a year', { deadline: { seconds: 366n * 86_400n } }, 'spec.deadline is 31622400 s'],
    ['an attempt of no time', { attemptTimeout: durationFromMs(0) }, 'spec.attempt_timeout is 0 s'],
    ['no time to accept', { acceptWithin: durationFromMs(0) }, 'spec.accept_within is 0 s; 100 ms to 1 h'],
    ['too many attempts', { retry: { maxAttempts: 1001 } }, 'spec.retry.max_attempts is 1001; at most 1000'],
    [
      'a longest pause shorter than the first',
      { retry: { minBackoff: durationFromMs(2000), maxBackoff: durationFromMs(1000) } },
      'spec.retry.max_backoff must not be shorter than min_backoff',
    ],
    [
      'an unknown policy',
      { onLoss: 9 as TaskSpec_OnLoss },
      'spec.on_loss is "9"; must be one of ON_LOSS_UNSPEC',
    ],
    [
      'a wait without ON_LOSS_WAIT',
      { waitForAgent: durationFromMs(5000) },
      'spec.wait_for_agent is allowed with',
    ],
    [
      'a winner without ON_LOSS_RECONCILE',
      { winner: TaskSpec_Winner.ORIGINAL, onLoss: TaskSpec_OnLoss.WAIT },
      'spec.winner is allowed with ON_LOSS_RECONCILE only',
    ],
    ['an ordering key with a space', { orderingKey: 'a b' }, 'spec.ordering_key is "a b"'],
    ['a long ordering key', { orderingKey: 'k'.repeat(129) }, 'spec.ordering_key has 129 characters'],
    ['a parent of another form', { parentTaskId: 'a/b' }, 'spec.parent_task_id is "a/b"'],
    ['a label key of two slashes', { labels: { 'a/b/c': '' } }, 'spec.labels["a/b/c"] key must have a name'],
    ['an owner with a space', { labels: { owner: 'a b' } }, 'spec.labels["owner"] value "a b" must be'],
    [
      '65 labels',
      { labels: Object.fromEntries(many(65, (i) => [`l${i}`, ''])) },
      'spec.labels has 65 entries',
    ],
    [
      'a selector that does not parse',
      { placement: { selector: 'tier in (web' } },
      'spec.placement.selector at position',
    ],
    ['a strategy of none', { placement: { strategy: 9 as never } }, 'spec.placement.strategy is "9"'],
    [
      'a spread of one scope twice',
      { placement: { spreads: [{}, { scope: Scope.AGENT }] } },
      'spec.placement.spreads[1] repeats entry 0',
    ],
    [
      'an affinity to nothing',
      { placement: { affinities: [{}] } },
      'spec.placement.affinities[0].group must not',
    ],
    ['65 agents', { placement: { agentIds: many(65, (i) => `a${i}`) } }, 'spec.placement.agent_ids has 65'],
    ['a group with a space', { placement: { group: 'a b' } }, 'spec.placement.group is "a b"'],
  ])('with %s may not', (_, spec, fault) => expect(submit(spec).join()).toContain(fault));

  it.each<[string, Submit, string]>([
    ['no spec', {}, 'spec must be given'],
    ['an id with a slash', { taskId: 'a/b', spec: { capability: 'x' } }, 'task_id is "a/b"; must be of'],
    ['a long id', { taskId: 'x'.repeat(65), spec: { capability: 'x' } }, 'task_id has 65 characters'],
    [
      'itself as its parent',
      { taskId: 'a', spec: { capability: 'x', parentTaskId: 'a' } },
      'spec.parent_task_id',
    ],
  ])('with %s may not either', (_, request, fault) =>
    expect(faults(SubmitTaskRequestSchema, request).join()).toContain(fault),
  );

  it('has all its faults told at once', () => {
    expect(submit({ capability: '', priority: 101, resources: { a: 0n } })).toHaveLength(3);
  });
});

describe('a batch of tasks', () => {
  const batch = (tasks: Submit[], rest: Init<typeof BatchSubmitTasksRequestSchema> = {}) =>
    faults(BatchSubmitTasksRequestSchema, {
      ...rest,
      tasks: tasks.map((task) => ({ spec: { capability: 'sum' }, ...task })),
    });

  it('may hold 1,000', () => expect(batch(many(1000, () => ({})))).toEqual([]));
  it('may say for each what it says for all', () => {
    const same = { namespace: 'n', requestId: 'r', sessionEpoch: 7n };
    expect(batch([same], same)).toEqual([]);
    expect(batch([{ namespace: 'default' }])).toEqual([]);
  });

  it.each<[string, string[], string]>([
    ['none', batch([]), 'tasks must not be empty'],
    ['1,001', batch(many(1001, () => ({}))), 'tasks has 1001 entries; at most 1000 are allowed'],
    [
      'one that is wrong',
      batch([{}, { spec: { capability: '' } }]),
      'tasks[1].spec.capability must not be empty',
    ],
    [
      'one of another namespace',
      batch([{ namespace: 'b' }], { namespace: 'a' }),
      'tasks[0].namespace differs',
    ],
    ['one of another namespace than default', batch([{ namespace: 'b' }]), 'tasks[0].namespace differs'],
    ['one of another request id', batch([{}, { requestId: 'r' }]), 'tasks[1].request_id differs from that'],
    [
      'one of another session',
      batch([{ sessionEpoch: 2n }], { sessionEpoch: 3n }),
      'tasks[0].session_epoch differs',
    ],
    [
      'an id twice',
      batch([{ taskId: 'a' }, {}, { taskId: 'a' }]),
      'tasks[2].task_id repeats that of entry 0',
    ],
  ])('may not hold %s', (_, found, fault) => expect(found.join()).toContain(fault));
});

describe('what may be asked of tasks', () => {
  const cursor = encodeCursor({ namespace: 'default', epoch: 1n, revision: 2n });
  it.each<[string, string[]]>([
    ['a wait of an hour', faults(GetTaskRequestSchema, { taskId: 'a', wait: durationFromMs(3_600_000) })],
    ['everything', faults(ListTasksRequestSchema, {})],
    ['tasks without an owner', faults(ListTasksRequestSchema, { filter: { owner: '' } })],
    [
      'a watch from a cursor',
      faults(WatchTasksRequestSchema, { cursor, progressInterval: durationFromMs(200) }),
    ],
    ['an end', faults(CancelTaskRequestSchema, { taskId: 'a', reason: 'x'.repeat(1024) })],
    ['an explanation', faults(ExplainTaskRequestSchema, { taskId: 'a' })],
    ['more', faults(GrantTaskBudgetRequestSchema, { taskId: 'a', budgets: { tokens: 5n } })],
  ])('%s', (_, found) => expect(found).toEqual([]));

  it.each<[string, string[], string]>([
    ['no id', faults(GetTaskRequestSchema, {}), 'task_id must not be empty'],
    [
      'too long a wait',
      faults(GetTaskRequestSchema, { taskId: 'a', wait: durationFromMs(3_600_001) }),
      'wait is',
    ],
    [
      'a wait below 0',
      faults(GetTaskRequestSchema, { taskId: 'a', wait: durationFromMs(-1) }),
      'wait is -0.001',
    ],
    [
      'a state of none',
      faults(ListTasksRequestSchema, { filter: { states: [0] } }),
      'filter.states[0] is STATE_UNSPEC',
    ],
    [
      '17 states',
      faults(ListTasksRequestSchema, { filter: { states: many(17, () => Task_State.PENDING) } }),
      'filter.states has 17 entries',
    ],
    [
      '33 capabilities',
      faults(ListTasksRequestSchema, { filter: { capabilities: many(33, (i) => `c${i}`) } }),
      'filter.capabilities has 33',
    ],
    [
      'a selector that does not parse',
      faults(ListTasksRequestSchema, { filter: { labelSelector: 'a in' } }),
      'filter.label_selector at position',
    ],
    [
      'an owner with a space',
      faults(ListTasksRequestSchema, { filter: { owner: 'a b' } }),
      'filter.owner "a b" must',
    ],
    [
      'an agent of no name',
      faults(ListTasksRequestSchema, { filter: { agentId: '-' } }),
      'filter.agent_id is "-"',
    ],
    ['a page of less than nothing', faults(ListTasksRequestSchema, { pageSize: -1 }), 'page_size is -1'],
    ['a revision below 0', faults(ListTasksRequestSchema, { minRevision: -1n }), 'min_revision is -1'],
    [
      'a watch from a cursor of another namespace',
      faults(WatchTasksRequestSchema, { namespace: 'b', cursor }),
      'cursor',
    ],
    [
      'progress too often',
      faults(WatchTasksRequestSchema, { progressInterval: durationFromMs(199) }),
      'progress_interval is 0.199',
    ],
    [
      'a long reason',
      faults(CancelTaskRequestSchema, { taskId: 'a', reason: 'x'.repeat(1025) }),
      'reason has 1025',
    ],
    ['nothing more', faults(GrantTaskBudgetRequestSchema, { taskId: 'a' }), 'budgets must not be empty'],
    [
      'less',
      faults(GrantTaskBudgetRequestSchema, { taskId: 'a', budgets: { t: -1n } }),
      'budgets["t"] is -1',
    ],
  ])('not %s', (_, found, fault) => expect(found.join()).toContain(fault));
});
