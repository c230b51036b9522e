import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type Delivery,
  DeliveryUpdate_State,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  BatchSubmitTasksRequestSchema,
  CancelTaskRequestSchema,
  ExplainTaskRequestSchema,
  GetTaskRequestSchema,
  GrantTaskBudgetRequestSchema,
  ListTasksRequestSchema,
  SubmitTaskRequestSchema,
  type Task,
  TaskFilterSchema,
  TaskSpecSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  QuotaSchema,
  UpdateQuotaRequestSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { validateFrame } from '../../../../src/domain/validation/frames.ts';
import { DomainError } from '../../../../src/lib/errors.ts';
import { nameOf } from '../../agent/conversation-fixture.ts';
import { startFleet, type TestFleet, type TestFleetOptions, turns } from '../../agent/fleet-fixture.ts';
import { attach, type TestAgent } from '../delivery-fixture.ts';
import type { SpecInit } from './task-records.ts';

export const ANN = { principal: 'ann', token: undefined };
const NO_TRACE = { traceparent: '', tracestate: '' };
type Init<S extends Parameters<typeof create>[0]> = Exclude<MessageInitShape<S>, { $typeName: string }>;

export const { ACCEPTED, DECLINED, SUCCEEDED, FAILED } = DeliveryUpdate_State;

/** An agent that is handed tasks. */
export interface Worker {
  readonly id: string;
  readonly token: string;
  agent: TestAgent;
  /** Tasks that were handed to it, by id, oldest first. */
  tasks(): string[];
  /** The last delivery of a task. */
  of(taskId: string): Delivery;
  say(taskId: string, state: DeliveryUpdate_State, more?: object): Promise<string>;
  /** Accepts a task and brings its result. */
  finish(taskId: string): Promise<void>;
}

export type TaskFleet = Awaited<ReturnType<typeof startTasks>>;

/** A fleet with what gives and takes tasks. */
export async function startTasks(options: TestFleetOptions = {}) {
  const fleet: TestFleet = await startFleet(options);
  const { tasks, resources } = fleet;

  const protocol = () => ({
    ...{ sessions: fleet.sessions, deliveries: fleet.deliveries, messages: fleet.coordination.messages },
    ...{ background: fleet.background, validateFrame, replicaId: fleet.config.id, maxFrameBytes: 1 << 20 },
    ...{ reconnectGraceMs: 30_000, pacing: fleet.pacing },
    wireError: (error: unknown) => ({
      code: 3,
      reason: error instanceof DomainError ? nameOf(error) : 'INTERNAL',
      detail: error instanceof Error ? error.message : '',
      retryAfterMs: error instanceof DomainError ? error.retryAfterMs : undefined,
    }),
  });

  const join = async (id: string, token: string, hello: Parameters<typeof attach>[3] = {}) =>
    attach(fleet, protocol(), token, {
      maxInFlight: 100,
      ...hello,
      instanceId: hello.instanceId ?? `p-${id}`,
    });

  /** An attached agent; capacity { slots: 1 } unless it says otherwise. */
  const worker = async (
    id: string,
    how: { capacity?: Record<string, bigint>; labels?: Record<string, string>; capability?: string } = {},
  ): Promise<Worker> => {
    const { capacity = { slots: 1n }, labels = {}, capability = 'work' } = how;
    const token = await fleet.register(id, { capacity, labels, capabilities: [{ name: capability }] });
    const made: Worker = {
      ...{ id, token, agent: await join(id, token) },
      tasks: () =>
        made.agent.deliveries().flatMap(({ item }) => (item.case === 'task' ? [item.value.id] : [])),
      of: (taskId) => {
        const found = made.agent
          .deliveries()
          .findLast(({ item }) => item.case === 'task' && item.value.id === taskId);
        if (found === undefined) throw new Error(`${id} was not handed ${taskId}`);
        return found;
      },
      say: async (taskId, state, more = {}) => {
        const reason = await made.agent.say(made.of(taskId), state, more);
        await turns();
        return reason;
      },
      finish: async (taskId) => {
        await made.say(taskId, ACCEPTED);
        await made.say(taskId, SUCCEEDED);
      },
    };
    await settled();
    return made;
  };

  /** Everything that is under way is over. */
  const settled = async (): Promise<void> => {
    for (let round = 0; round < 3; round += 1) {
      await turns(4);
      await fleet.background.idle();
    }
  };

  /** One of the rounds that the service makes ten times a second. */
  const tick = async (): Promise<void> => {
    tasks.scheduling.tick();
    await settled();
  };

  const task = async (id: string): Promise<Task> => {
    const request = create(GetTaskRequestSchema, { taskId: id });
    const { task: found } = await tasks.reader.get(request, new AbortController().signal);
    if (found === undefined) throw new Error('no task');
    return found;
  };

  const record = (id: string) => {
    const known = tasks.view.get('default', id);
    if (known === undefined) throw new Error(`task ${id} is not in memory`);
    return known.record;
  };

  /** Submits a task and waits for nothing more. */
  const put = async (
    taskId: string,
    spec: SpecInit = {},
    more: Init<typeof SubmitTaskRequestSchema> = {},
  ) => {
    const request = create(SubmitTaskRequestSchema, {
      taskId,
      spec: create(TaskSpecSchema, { capability: 'work', ...spec }),
      ...more,
    });
    const response = await tasks.submit.submit(request, ANN, NO_TRACE);
    if (response.task === undefined) throw new Error('no task');
    return response.task;
  };

  return {
    ...fleet,
    join,
    worker,
    settled,
    tick,
    task,
    record,
    put,
    submit: async (...what: Parameters<typeof put>) => {
      const task = await put(...what);
      await settled();
      return task;
    },
    batch: async (specs: Record<string, SpecInit>) => {
      const request = create(BatchSubmitTasksRequestSchema, {
        tasks: Object.entries(specs).map(([taskId, spec]) => ({
          taskId,
          spec: { capability: 'work', ...spec },
        })),
      });
      const response = await tasks.submit.batch(request, ANN, NO_TRACE);
      await settled();
      return response;
    },
    cancel: async (taskId: string, reason = '') => {
      const response = await tasks.change.cancel(create(CancelTaskRequestSchema, { taskId, reason }), ANN);
      await settled();
      return response;
    },
    grantBudget: async (taskId: string, budgets: Record<string, bigint>, requestId = '') => {
      const request = create(GrantTaskBudgetRequestSchema, { taskId, budgets, requestId });
      const response = await tasks.change.grant(request, ANN);
      await settled();
      return response;
    },
    explain: (taskId: string) => tasks.explain.explain(create(ExplainTaskRequestSchema, { taskId })),
    list: (filter: Init<typeof TaskFilterSchema> = {}, more: Init<typeof ListTasksRequestSchema> = {}) =>
      tasks.reader.list(
        create(ListTasksRequestSchema, { filter: create(TaskFilterSchema, filter), ...more }),
      ),
    quota: async (owner: string, quota: Init<typeof QuotaSchema>) => {
      const request = create(UpdateQuotaRequestSchema, { quota: create(QuotaSchema, { owner, ...quota }) });
      const response = await resources.quotas.update(request, ANN);
      await settled();
      return response;
    },
    /** The view was read anew, as after it had fallen behind. */
    readAnew: async () => {
      const page = await fleet.store.scan('default', { prefix: '', limit: 10_000 });
      const entries = page.entries.filter(({ key }) => !key.startsWith('~'));
      for (const view of [tasks.view, tasks.allocations, tasks.quotas, tasks.scheduling])
        view.reset('default', page.position, entries);
      await settled();
    },
    /** What is held in memory of an agent, by resource; what is 0 is left out. */
    reserved: (agentId: string): Record<string, number> => {
      const { agents } = tasks.scheduling.ledger('default').pool.usage();
      const figures = agents.find((each) => each.agentId === agentId)?.resources ?? [];
      return Object.fromEntries(
        figures.flatMap(({ resource, reserved }) => (reserved === 0 ? [] : [[resource, reserved]])),
      );
    },
    /** An agent's stream breaks, and its work is taken from it, as the care of failures does. */
    lose: async (who: Worker): Promise<void> => {
      who.agent.breakOff();
      await settled();
      const known = fleet.directory.get('default', who.id);
      if (known === undefined) throw new Error('no agent');
      for (const hook of tasks.hooks) {
        const loss = { namespace: 'default', known, storeMs: fleet.storeTime.ms() };
        const {
          more: _,
          summary: __,
          ...effects
        } = await hook.effects(loss as Parameters<typeof hook.effects>[0]);
        await fleet.store.commit({ namespace: 'default', ...effects });
      }
      await settled();
    },
    /** The agent comes back, with what it says that it holds. */
    comeBack: async (who: Worker, held: readonly Delivery[]): Promise<void> => {
      const work = held.flatMap((delivery) => (delivery.work === undefined ? [] : [delivery.work]));
      who.agent = await join(who.id, who.token, { held: work });
      await settled();
    },
  };
}
