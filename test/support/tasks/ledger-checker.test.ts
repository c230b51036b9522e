import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  type Task,
  Task_State,
  TaskAttempt_State,
  type TaskAttemptSchema,
  type TaskSpec,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { Allocation_State } from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import {
  AgentRecordSchema,
  AllocationRecordSchema,
  DeliveryRecordSchema,
  QuotaRecordSchema,
  type TaskRecord,
  TaskRecordSchema,
} from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Change } from '../../../src/state/store.ts';
import { type Expected, LedgerChecker } from './ledger-checker.ts';

const NOW = 1_700_000_000_000;
let checker: LedgerChecker;
let revision: bigint;

/** One commit. */
function commit(...changes: Change[]): void {
  revision += 1n;
  const timeMs = NOW + Number(revision);
  checker.batch({ namespace: 'default', epoch: 1n, revision, timeMs, changes, appends: [] });
}

const agent = (id: string, capacity: Record<string, bigint>): Change => ({
  key: `agent/${id}`,
  value: toBinary(AgentRecordSchema, create(AgentRecordSchema, { agent: { id, spec: { capacity } } })),
});

const quota = (owner: string, more: MessageInitShape<typeof QuotaRecordSchema>): Change => ({
  key: `quota/${owner}`,
  value: toBinary(QuotaRecordSchema, create(QuotaRecordSchema, more)),
});

const gone = (key: string): Change => ({ key });

interface Live {
  number: number;
  on: string;
  resources?: Record<string, bigint>;
  spent?: Record<string, bigint>;
  replacement?: boolean;
}

interface Text {
  data: { case: 'text'; value: string };
}

interface TaskMore {
  spec?: Partial<Pick<TaskSpec, 'labels' | 'parentTaskId' | 'orderingKey'>>;
  live?: Live[];
  task?: Partial<Pick<Task, 'attemptCount' | 'budgets' | 'spent'>> & { output?: Text };
  record?: Partial<Pick<TaskRecord, 'settled' | 'childrenHeld' | 'childrenSpent'>>;
}

const deliveryOf = (id: string, number: number): string => `task-${id}-${number}`;

function task(id: string, state: Task_State, { spec, live = [], task: more, record }: TaskMore = {}): Change {
  const attempts = live.map(
    ({ number, on, replacement = false }): MessageInitShape<typeof TaskAttemptSchema> => ({
      ...{ number, agentId: on, deliveryId: deliveryOf(id, number), replacement },
      state: TaskAttempt_State.RUNNING,
    }),
  );
  const attemptCount = Math.max(0, ...live.map(({ number }) => number));
  const endTime = state >= Task_State.SUCCEEDED ? { endTime: timestampFromMs(NOW) } : {};
  const value = create(TaskRecordSchema, {
    task: { id, state, spec: { capability: 'sum', ...spec }, attempts, attemptCount, ...endTime, ...more },
    live: live.map(({ number, on, resources = { slots: 1n }, spent = {} }) => {
      return { number, agentId: on, deliveryId: deliveryOf(id, number), resources, spent };
    }),
    ...record,
  });
  return { key: `task/${id}`, value: toBinary(TaskRecordSchema, value) };
}

const mail = (id: string, number: number, on: string): Change => ({
  key: `mail/${on}/${deliveryOf(id, number)}`,
  value: toBinary(
    DeliveryRecordSchema,
    create(DeliveryRecordSchema, { item: { case: 'task', value: { id, attempt: number } } }),
  ),
});
const mailGone = (id: string, number: number, on: string): Change =>
  gone(`mail/${on}/${deliveryOf(id, number)}`);

/** A task that runs, with its delivery. */
const runs = (id: string, on: string, more: TaskMore & { live?: Live[] } = {}): Change[] => [
  task(id, Task_State.RUNNING, { live: [{ number: 1, on }], ...more }),
  mail(id, 1, on),
];
const OVER = { attemptCount: 1, output: { data: { case: 'text' as const, value: 'done' } } };
/** It succeeds. */
const succeeds = (id: string, on: string, more: TaskMore = {}): Change[] => [
  task(id, Task_State.SUCCEEDED, {
    ...more,
    task: { ...OVER, ...more.task },
    record: { settled: true, ...more.record },
  }),
  mailGone(id, 1, on),
];

interface AllocationMore {
  settled?: boolean;
  resources?: Record<string, bigint>;
  budgets?: Record<string, bigint>;
  spent?: Record<string, bigint>;
}

function allocation(id: string, state: Allocation_State, more: AllocationMore = {}): Change {
  const { settled = false, resources = {}, budgets = {}, spent = {} } = more;
  const grantTime = timestampFromMs(NOW);
  const value = create(AllocationRecordSchema, {
    settled,
    allocation: { id, state, agentId: 'a1', spec: { resources, budgets }, grantTime, spent },
  });
  return { key: `alloc/${id}`, value: toBinary(AllocationRecordSchema, value) };
}

const nobody: Expected = { submitted: [], successes: new Map() };
const done = (id: string, output = 'done', stored = true): Expected => ({
  submitted: [id],
  successes: new Map([[id, [{ output, stored }]]]),
});

beforeEach(() => {
  checker = new LedgerChecker();
  revision = 0n;
  commit(agent('a1', { slots: 2n, cpu_milli: 1000n }), agent('a2', { slots: 2n, cpu_milli: 1000n }));
});

const tokens = (limit: bigint, spent = 0n) => ({ budgets: [{ name: 'tokens', limit, spent }] });
const root = (budgets: Record<string, bigint>): TaskMore => ({ task: { budgets } });

describe('a ledger in which nothing is wrong', () => {
  it('is that of tasks that come, run, move, end and are put away', () => {
    commit(task('t1', Task_State.PENDING));
    commit(...runs('t1', 'a1'));
    commit(...succeeds('t1', 'a1'));
    commit(gone('task/t1'));
    commit(...runs('t2', 'a1', { task: { attemptCount: 1 } }));
    const both = [
      { number: 1, on: 'a1' },
      { number: 2, on: 'a2', replacement: true },
    ];
    commit(task('t2', Task_State.RUNNING, { live: both }), mail('t2', 2, 'a2'));
    commit(task('t2', Task_State.RUNNING, { live: both.slice(1) }), mailGone('t2', 1, 'a1'));
    commit(
      task('t2', Task_State.FAILED, { task: { attemptCount: 2 }, record: { settled: true } }),
      mailGone('t2', 2, 'a2'),
    );
    expect(checker.faults).toEqual([]);
    expect(checker.finish(done('t1'))).toEqual([]);
  });

  it('is that of a capacity and a quota that shrink below what is reserved, when nothing more is reserved there', () => {
    commit(quota('ann', { quota: { hard: { tasks: 2n, slots: 2n } } }));
    const spec = { labels: { owner: 'ann' } };
    commit(...runs('t1', 'a1', { spec }), ...runs('t2', 'a1', { spec }));
    commit(agent('a1', { slots: 1n }));
    commit(quota('ann', { quota: { hard: { tasks: 2n, slots: 2n } }, wanted: { hard: { tasks: 1n } } }));
    commit(...succeeds('t1', 'a1', { spec }));
    expect(checker.faults).toEqual([]);
  });

  it('is that of budgets that are held, given to a child, spent, and taken over once', () => {
    commit(quota('', { quota: tokens(100n) }));
    commit(...runs('p', 'a1', root({ tokens: 100n })));
    const child = { spec: { parentTaskId: 'p' }, task: { budgets: { tokens: 40n } } };
    const parent = (more: NonNullable<TaskMore['record']>) =>
      task('p', Task_State.RUNNING, {
        ...root({ tokens: 100n }),
        live: [{ number: 1, on: 'a1', spent: { tokens: 60n } }],
        record: more,
      });
    commit(task('c', Task_State.PENDING, child));
    commit(...runs('c', 'a2', child), parent({ childrenHeld: { tokens: 40n } }));
    const spent = { ...child, task: { ...child.task, spent: { tokens: 10n } } };
    commit(...succeeds('c', 'a2', { ...spent, record: { settled: false } }));
    commit(
      task('c', Task_State.SUCCEEDED, {
        ...spent,
        task: { ...OVER, ...spent.task },
        record: { settled: true },
      }),
      parent({ childrenSpent: { tokens: 10n } }),
    );
    const ended = { task: { budgets: { tokens: 100n }, spent: { tokens: 60n } } };
    const settled = { childrenSpent: { tokens: 10n } };
    commit(...succeeds('p', 'a1', { ...ended, record: { ...settled, settled: false } }));
    commit(
      task('p', Task_State.SUCCEEDED, {
        task: { ...OVER, ...ended.task },
        record: { ...settled, settled: true },
      }),
      quota('', { quota: tokens(100n, 70n) }),
    );
    expect(checker.faults).toEqual([]);
    expect(
      checker.finish({
        ...nobody,
        successes: new Map([
          ['p', [{ output: 'done', stored: true }]],
          ['c', [{ output: 'done', stored: false }]],
        ]),
      }),
    ).toEqual([]);
  });
});

/** What each breach does, and a word of what is said of it. */
const breaches: Record<string, [RegExp, () => void]> = {
  'more tasks than slots': [
    /3 slots of 2 are reserved on a1/,
    () => commit(...['t1', 't2', 't3'].flatMap((id) => runs(id, 'a1'))),
  ],
  'more of a resource than there is': [
    /1001 cpu_milli of 1000 are reserved on a1/,
    () => commit(...runs('t1', 'a1', { live: [{ number: 1, on: 'a1', resources: { cpu_milli: 1001n } }] })),
  ],
  'an allocation beside a task that leaves no room for it': [
    /1200 cpu_milli of 1000/,
    () => {
      commit(...runs('t1', 'a1', { live: [{ number: 1, on: 'a1', resources: { cpu_milli: 600n } }] }));
      commit(allocation('x', Allocation_State.ACTIVE, { resources: { cpu_milli: 600n } }));
    },
  ],
  'a resource that the agent does not have': [
    /1 gpu of 0/,
    () => commit(...runs('t1', 'a1', { live: [{ number: 1, on: 'a1', resources: { gpu: 1n } }] })),
  ],
  'something that takes the place of what an excess had': [
    /2 slots of 1 are reserved on a1/,
    () => {
      commit(...runs('t1', 'a1'), ...runs('t2', 'a1'));
      commit(agent('a1', { slots: 1n }));
      commit(...succeeds('t1', 'a1'), ...runs('t3', 'a1'));
    },
  ],
  'an agent that is not there': [/1 slots of 0 are reserved on a9/, () => commit(...runs('t1', 'a9'))],
  'more tasks than the quota of an owner': [
    /2 tasks of quota "ann" are reserved, of 1/,
    () => {
      commit(quota('ann', { quota: { hard: { tasks: 1n } } }));
      commit(...['t1', 't2'].flatMap((id) => runs(id, 'a1', { spec: { labels: { owner: 'ann' } } })));
    },
  ],
  'more than the quota of the namespace': [
    /quota "" are reserved, of 1/,
    () => {
      commit(quota('', { quota: { hard: { slots: 1n } } }));
      commit(...runs('t1', 'a1', { spec: { labels: { owner: 'ann' } } }), ...runs('t2', 'a2'));
    },
  ],
  'more than a quota that is about to be lowered': [
    /2 tasks of quota "" are reserved, of 1/,
    () => {
      commit(...runs('t1', 'a1'));
      commit(quota('', { quota: { hard: { tasks: 5n } }, wanted: { hard: { tasks: 1n } } }));
      commit(...runs('t2', 'a1'));
    },
  ],
  'a budget that is given out twice': [
    /of 100 tokens of quota "" 0 are spent and 120 held/,
    () => {
      commit(quota('', { quota: tokens(100n) }));
      commit(...runs('t1', 'a1', root({ tokens: 60n })), ...runs('t2', 'a1', root({ tokens: 60n })));
    },
  ],
  'a budget that was spent': [
    /of 100 tokens of quota "" 50 are spent and 60 held/,
    () => {
      commit(quota('', { quota: tokens(100n, 50n) }));
      commit(...runs('t1', 'a1', root({ tokens: 60n })));
    },
  ],
  'a budget in a period in which it was spent': [
    /50 are spent and 60 held/,
    () => {
      const hour = 3_600_000;
      const budgets = [{ ...tokens(100n, 50n).budgets[0], period: durationFromMs(hour) }];
      commit(quota('', { quota: { budgets }, periods: { tokens: BigInt(Math.floor(NOW / hour)) } }));
      commit(...runs('t1', 'a1', root({ tokens: 60n })));
    },
  ],
  'a task that spends more than it may': [
    /task t1 has spent 11 tokens.* of 10/,
    () =>
      commit(
        ...runs('t1', 'a1', {
          ...root({ tokens: 10n }),
          live: [{ number: 1, on: 'a1', spent: { tokens: 11n } }],
        }),
      ),
  ],
  'a parent that gives out more than it has': [
    /task t1 has given out 11 tokens of 10/,
    () =>
      commit(...runs('t1', 'a1', { ...root({ tokens: 10n }), record: { childrenHeld: { tokens: 11n } } })),
  ],
  'a parent that does not know what a child holds': [
    /task p says those below it hold 0 tokens, not 5/,
    () => {
      commit(...runs('p', 'a1', root({ tokens: 10n })));
      commit(...runs('c', 'a2', { spec: { parentTaskId: 'p' }, task: { budgets: { tokens: 5n } } }));
    },
  ],
  'spending that nobody takes over': [
    /4 tokens were settled, and quota "" does not say so/,
    () => {
      commit(quota('', { quota: tokens(100n) }));
      commit(...runs('t1', 'a1', root({ tokens: 10n })));
      commit(...succeeds('t1', 'a1', { task: { budgets: { tokens: 10n }, spent: { tokens: 4n } } }));
    },
  ],
  'spending that is taken over twice': [
    /quota "" says 8 tokens were spent after 4, and 0 were settled/,
    () => {
      commit(quota('', { quota: tokens(100n, 4n) }));
      commit(quota('', { quota: tokens(100n, 8n) }));
    },
  ],
  'two tasks of one ordering key': [
    /t2 and t1 of key k are live/,
    () => {
      commit(...runs('t1', 'a1', { spec: { orderingKey: 'k' } }));
      commit(...runs('t2', 'a1', { spec: { orderingKey: 'k' } }));
    },
  ],
  'a task that overtakes an earlier one of its ordering key': [
    /t2 of key k is live before t1 has ended/,
    () => {
      commit(task('t1', Task_State.PENDING, { spec: { orderingKey: 'k' } }));
      commit(task('t2', Task_State.PENDING, { spec: { orderingKey: 'k' } }));
      commit(...runs('t2', 'a1', { spec: { orderingKey: 'k' } }));
    },
  ],
  'a task that ends twice': [
    /task t1 had ended as SUCCEEDED.*ends as FAILED/,
    () => {
      commit(...runs('t1', 'a1'));
      commit(...succeeds('t1', 'a1'));
      commit(task('t1', Task_State.FAILED, { task: { attemptCount: 1 }, record: { settled: true } }));
    },
  ],
  'a task whose result changes': [
    /task t1 had ended as SUCCEEDED/,
    () => {
      commit(...runs('t1', 'a1'));
      commit(...succeeds('t1', 'a1'));
      commit(...succeeds('t1', 'a1', { task: { output: { data: { case: 'text', value: 'other' } } } }));
    },
  ],
  'a task that goes on after its end': [
    /task t1 had ended/,
    () => {
      commit(...runs('t1', 'a1'));
      commit(...succeeds('t1', 'a1'));
      commit(task('t1', Task_State.PENDING, { task: { attemptCount: 1 } }));
    },
  ],
  'a task that is gone': [
    /task t1 is gone before it has ended/,
    () => {
      commit(task('t1', Task_State.PENDING));
      commit(gone('task/t1'));
    },
  ],
  'an end with an attempt that lives': [
    /has ended and has 1 live attempts/,
    () => {
      commit(...runs('t1', 'a1'));
      commit(task('t1', Task_State.SUCCEEDED, { live: [{ number: 1, on: 'a1' }] }));
    },
  ],
  'an attempt whose number was there': [
    /task t1 has attempt 1 after 1/,
    () => {
      commit(...runs('t1', 'a1'));
      commit(task('t1', Task_State.PENDING, { task: { attemptCount: 1 } }), mailGone('t1', 1, 'a1'));
      commit(...runs('t1', 'a2'));
    },
  ],
  'two attempts, none of them a replacement': [
    /two live attempts, none of them a replacement/,
    () => {
      const live = ['a1', 'a2'].map((on, index) => ({ number: index + 1, on }));
      commit(...runs('t1', 'a1', { live }), mail('t1', 2, 'a2'));
    },
  ],
  'an attempt without its delivery': [
    /t1 has a live attempt without mail\/a1\/task-t1-1/,
    () => commit(task('t1', Task_State.RUNNING, { live: [{ number: 1, on: 'a1' }] })),
  ],
  'a delivery that is gone under its attempt': [
    /t1 has a live attempt without mail\/a1\/task-t1-1/,
    () => {
      commit(...runs('t1', 'a1'));
      commit(mailGone('t1', 1, 'a1'));
    },
  ],
  'a delivery that stays when its attempt is over': [
    /mail\/a1\/task-t1-1 is there without a live attempt of t1/,
    () => {
      commit(...runs('t1', 'a1'));
      commit(task('t1', Task_State.PENDING, { task: { attemptCount: 1 } }));
    },
  ],
  'a delivery in another mailbox': [
    /mail\/a2\/task-t1-1 is there without/,
    () => commit(task('t1', Task_State.RUNNING, { live: [{ number: 1, on: 'a1' }] }), mail('t1', 1, 'a2')),
  ],
  'an allocation that comes back': [
    /allocation x had ended/,
    () => {
      commit(allocation('x', Allocation_State.RELEASED, { settled: true }));
      commit(allocation('x', Allocation_State.ACTIVE));
    },
  ],
  'an allocation that spends more than it was granted': [
    /allocation x has spent 2 tokens of 1/,
    () =>
      commit(allocation('x', Allocation_State.ACTIVE, { budgets: { tokens: 1n }, spent: { tokens: 2n } })),
  ],
  'a revision that is missing': [
    /revision 4 came after 2/,
    () => {
      commit();
      revision += 1n;
      commit();
    },
  ],
};

describe('the checker of a ledger catches', () => {
  it.each(Object.entries(breaches))('%s', (_, [said, breach]) => {
    breach();
    expect(checker.faults.join('\n')).toMatch(said);
  });
});

describe('at the end it catches', () => {
  it('what is still reserved, and its delivery', () => {
    commit(...runs('t1', 'a1'));
    const left = checker.finish({ ...nobody, submitted: ['t1'] }).join('\n');
    expect(left).toMatch(/task\/t1\/1 is still reserved/);
    expect(left).toMatch(/mail\/a1\/task-t1-1 is still there/);
    expect(left).toMatch(/t1 has not ended: RUNNING/);
  });

  it('budgets that were never taken over', () => {
    commit(quota('', { quota: tokens(10n) }));
    commit(...runs('t1', 'a1', root({ tokens: 5n })));
    commit(...succeeds('t1', 'a1', { ...root({ tokens: 5n }), record: { settled: false } }));
    expect(checker.finish(done('t1'))).toEqual(['task/t1 still holds budgets']);
  });

  it.each<[string, RegExp, Expected]>([
    ['a task that was lost', /t2 was acknowledged/, done('t2')],
    ['a result that nobody told', /a result of nobody/, { submitted: ['t1'], successes: new Map() }],
    ['another result than the one that was stored', /a result of nobody/, done('t1', 'other')],
    [
      'two results that were stored',
      /several results/,
      {
        submitted: ['t1'],
        successes: new Map([['t1', ['done', 'again'].map((output) => ({ output, stored: true }))]]),
      },
    ],
    [
      'spending that is forgotten',
      /has spent 0 tokens, and 3 were acknowledged/,
      { ...done('t1'), spent: new Map([['t1', { tokens: 3n }]]) },
    ],
  ])('%s', (_, said, expected) => {
    commit(...runs('t1', 'a1'));
    commit(...succeeds('t1', 'a1'));
    expect(checker.faults).toEqual([]);
    expect(checker.finish(expected).join('\n')).toMatch(said);
  });

  it('a stored success of a task that failed', () => {
    commit(...runs('t1', 'a1'));
    commit(
      task('t1', Task_State.FAILED, { task: { attemptCount: 1 }, record: { settled: true } }),
      mailGone('t1', 1, 'a1'),
    );
    expect(checker.finish(done('t1')).join('\n')).toMatch(
      /the result of task t1 was stored, and it is FAILED/,
    );
  });
});

describe('where the log was lost', () => {
  it('it goes on with what is there, and catches what ended twice meanwhile', () => {
    commit(...runs('t1', 'a1'));
    commit(...succeeds('t1', 'a1'));
    const value = task('t1', Task_State.FAILED, { task: { attemptCount: 1 } }).value ?? new Uint8Array();
    checker.resync({ epoch: 2n, revision: 9n }, [{ key: 'task/t1', value, revision: 8n }]);
    expect(checker.faults.join('\n')).toMatch(/up to revision 9: task t1 had ended/);
    revision = 9n;
    commit(agent('a3', {}));
    expect(checker.revision).toBe(10n);
  });
});
