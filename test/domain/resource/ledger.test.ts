import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  Agent_Liveness,
  Agent_Phase,
  type AgentSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  Task_State,
  TaskAttempt_State,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  AgentRecordSchema,
  QuotaRecordSchema,
} from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { KnownAgent } from '../../../src/domain/agent/directory.ts';
import { itemOfTask } from '../../../src/domain/coordination/tasks/items.ts';
import { finish } from '../../../src/domain/coordination/tasks/task-draft.ts';
import { copyTask, type KnownTask } from '../../../src/domain/coordination/tasks/task-record.ts';
import { accept, fail, succeed } from '../../../src/domain/coordination/tasks/task-rules.ts';
import { Ledger, poolAgent } from '../../../src/domain/resource/ledger.ts';
import { type draft, give, knownOf, newTask, T0 } from '../coordination/tasks/task-records.ts';

const { CONNECTED, SUSPECT, DISCONNECTED, LOST, LEFT } = Agent_Liveness;
const { ACTIVE, REGISTERED, DRAINING, QUARANTINED } = Agent_Phase;

function agent(
  id: string,
  more: Exclude<MessageInitShape<typeof AgentSchema>, { $typeName: string }> = {},
): KnownAgent {
  const record = create(AgentRecordSchema, {
    agent: {
      ...{ id, uid: `uid-${id}`, liveness: CONNECTED, phase: ACTIVE },
      spec: {
        capacity: { slots: 4n, cpu: 1000n },
        capabilities: [{ name: 'work' }],
        labels: { 'topology.kubernetes.io/zone': 'z1' },
      },
      ...more,
    },
  });
  return { namespace: 'default', id, record, revision: 3n } as KnownAgent;
}

let ledger: Ledger;
beforeEach(() => {
  ledger = new Ledger({ overcommit: {}, defaultSlots: 1, defaultStrategy: 'least_loaded' });
  for (const id of ['a1', 'a2']) ledger.agentChanged(id, agent(id));
  const quota = { budgets: [{ name: 'tokens', limit: 100n }], hard: { tasks: 10n } };
  ledger.quotaChanged('', create(QuotaRecordSchema, { quota }), 5n);
});

const reserved = (id: string): Record<string, number> =>
  Object.fromEntries(
    (ledger.pool.usage().agents.find(({ agentId }) => agentId === id)?.resources ?? []).flatMap((each) =>
      each.reserved === 0 ? [] : [[each.resource, each.reserved]],
    ),
  );
const taken = () => {
  const quota = ledger.accounts.quota('', T0);
  return { tasks: quota?.reserved.tasks ?? 0n, tokens: quota?.budgets[0]?.reserved ?? 0n };
};
const spec = { resources: { slots: 1n, cpu: 300n }, budgets: { tokens: 40n } };
/** The task as it becomes by a change; the ledger is told of it. */
function change(before: KnownTask | undefined, how: (record: ReturnType<typeof draft>) => void): KnownTask {
  const made = { record: before === undefined ? newTask(spec) : copyTask(before), withdrawn: [] };
  how(made);
  const after = knownOf(made.record);
  ledger.taskChanged(before, after);
  return after;
}
const assigned =
  (to = 'a1') =>
  (made: ReturnType<typeof draft>) => {
    give(made, to, T0, spec.resources);
  };

describe('the ledger', () => {
  it('holds what an attempt takes of its agent and of the quotas, until it is over', () => {
    const one = change(undefined, assigned());
    expect(reserved('a1')).toEqual({ slots: 1, cpu: 300 });
    expect(taken()).toEqual({ tasks: 1n, tokens: 40n });
    const two = change(one, (made) => accept(made, 1, T0));
    expect(reserved('a1')).toEqual({ slots: 1, cpu: 300 });
    const failure = { error: '', retryable: true, storeMs: T0, maxAttempts: 3 };
    const three = change(two, (made) => fail(made, 1, { ...failure, state: TaskAttempt_State.FAILED }));
    expect(reserved('a1')).toEqual({});
    // Its budget stays its own between attempts.
    expect(taken()).toEqual({ tasks: 0n, tokens: 40n });
    const four = change(three, assigned('a2'));
    expect(reserved('a2')).toEqual({ slots: 1, cpu: 300 });
    const five = change(four, (made) => succeed(made, 2, T0));
    expect(taken()).toEqual({ tasks: 0n, tokens: 40n });
    const six = change(five, ({ record }) => {
      record.settled = true;
    });
    expect(taken()).toEqual({ tasks: 0n, tokens: 0n });
    ledger.taskChanged(six, undefined);
    expect(taken()).toEqual({ tasks: 0n, tokens: 0n });
  });

  it('holds both attempts of one that is moved', () => {
    const one = change(undefined, assigned());
    const two = change(one, assigned('a2'));
    expect([reserved('a1').cpu, reserved('a2').cpu]).toEqual([300, 300]);
    expect(taken()).toEqual({ tasks: 2n, tokens: 40n });
    change(two, (made) => finish(made, Task_State.CANCELLED, '', T0));
    expect([reserved('a1'), reserved('a2')]).toEqual([{}, {}]);
  });

  it('reserves what is about to be stored, takes it back, and counts it once when it is seen', () => {
    const known = knownOf(newTask(spec));
    const item = itemOfTask(known, 60_000);
    const undo = ledger.holdAttempt('t1', 1, item, 'a1');
    expect(reserved('a1')).toEqual({ slots: 1, cpu: 300 });
    expect(taken()).toEqual({ tasks: 1n, tokens: 40n });
    undo();
    expect(reserved('a1')).toEqual({});
    expect(taken()).toEqual({ tasks: 0n, tokens: 0n });
    ledger.holdAttempt('t1', 1, item, 'a1');
    change(undefined, assigned());
    expect(reserved('a1')).toEqual({ slots: 1, cpu: 300 });
    expect(taken()).toEqual({ tasks: 1n, tokens: 40n });
  });

  it('takes nothing of quotas for the budget of a child', () => {
    const child = { record: newTask({ ...spec, parentTaskId: 'top' }), withdrawn: [] };
    give(child, 'a1');
    ledger.taskChanged(undefined, knownOf(child.record));
    expect(taken()).toEqual({ tasks: 1n, tokens: 0n });
  });

  it('forgets an agent that is gone, and what is held on it stays known', () => {
    change(undefined, assigned());
    ledger.agentChanged('a1', undefined);
    expect(ledger.pool.agent('a1')).toBeUndefined();
    ledger.agentChanged('a1', agent('a1'));
    expect(reserved('a1')).toEqual({ slots: 1, cpu: 300 });
  });
});

describe('an agent as the pool sees it', () => {
  it.each([
    [CONNECTED, ACTIVE, true],
    [CONNECTED, REGISTERED, true],
    [CONNECTED, DRAINING, false],
    [CONNECTED, QUARANTINED, false],
    [SUSPECT, ACTIVE, false],
    [DISCONNECTED, ACTIVE, false],
    [LOST, ACTIVE, false],
    [LEFT, ACTIVE, false],
  ])('with liveness %d and phase %d is available: %s', (liveness, phase, available) => {
    const seen = poolAgent(agent('a1', { liveness, phase }));
    expect(seen.available).toBe(available);
    expect(seen.unavailableWhy === '').toBe(available);
    expect(seen).toMatchObject({ id: 'a1', uid: 'uid-a1', zone: 'z1', capacity: { slots: 4, cpu: 1000 } });
  });
});
