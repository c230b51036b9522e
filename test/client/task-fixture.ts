import type { Message, MessageInitShape } from '@bufbuild/protobuf';
import {
  type DeliverySchema,
  type DeliveryUpdate,
  type DeliveryUpdate_State,
  DeliveryUpdate_StateSchema,
  type TaskSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { AgentTask } from '../../src/client/task.ts';
import type { AgentFixture } from './agent-fixture.ts';

type Fields = Exclude<MessageInitShape<typeof DeliverySchema>, Message>;
type TaskFields = Exclude<MessageInitShape<typeof TaskSchema>, Message>;

export const nameOf = (state: DeliveryUpdate_State) => DeliveryUpdate_StateSchema.value[state]?.localName;
const idOf = ({ work }: DeliveryUpdate): string => work?.deliveryId.slice(5, -2) ?? '';

/** The service's side of an agent's tasks; a task's delivery is "task-<id>-1". */
export function taskService(fixture: AgentFixture) {
  const updates = () => fixture.network.stream.frames('deliveryUpdate');
  return {
    deliver(id: string, task: TaskFields = {}, more: Fields = {}): void {
      const value = { id, capability: 'resize', attempt: 1, ...task };
      fixture.network.stream.down({
        case: 'delivery',
        value: {
          work: { deliveryId: `task-${id}-1`, attempt: 1n },
          acceptWithin: { seconds: 10n },
          item: { case: 'task', value },
          ...more,
        },
      });
    },
    revoke(id: string, reason = 'cancelled'): void {
      const work = { deliveryId: `task-${id}-1`, attempt: 1n };
      fixture.network.stream.down({ case: 'revoke', value: { work, reason } });
    },
    updates,
    updatesOf: (id: string) => updates().filter((update) => idOf(update) === id),
    /** Each update as "<task id> <state>". */
    states: () => updates().map((update) => `${idOf(update)} ${nameOf(update.state)}`),
    /** Answers the latest frame. */
    answer(result: { code?: number; reason?: string; detail?: string } = {}): void {
      const { frameId } = fixture.network.stream.up.findLast(({ frameId: id }) => id !== '') ?? {};
      fixture.network.stream.down({ case: 'result', value: { frameId: frameId ?? '', ...result } });
    },
    /** Answers all frames; those that were answered take no notice. */
    answerAll(): void {
      for (const { frameId } of fixture.network.stream.up) {
        if (frameId !== '') fixture.network.stream.down({ case: 'result', value: { frameId } });
      }
    },
  };
}

/** A handler whose tasks are done when they are told. */
export function heldTasks(pass: AgentFixture['pass']) {
  const running = new Map<string, AgentTask>();
  const ends = new Map<
    string,
    { resolve: (output?: object | string) => void; reject: (error: unknown) => void }
  >();
  const handler = (task: AgentTask) => {
    running.set(task.id, task);
    return new Promise<object | string | undefined>((resolve, reject) => {
      ends.set(task.id, { resolve, reject });
    }).finally(() => running.delete(task.id));
  };
  const end = async (how: 'resolve' | 'reject', id: string, value?: unknown) => {
    ends.get(id)?.[how](value as never);
    await pass(0);
  };
  const task = (id: string): AgentTask => {
    const found = running.get(id);
    if (found === undefined) throw new Error(`task ${id} does not run`);
    return found;
  };
  return {
    handler,
    running,
    task,
    done: (id: string, output?: object | string) => end('resolve', id, output),
    fail: (id: string, error: unknown) => end('reject', id, error),
  };
}
