import { create } from '@bufbuild/protobuf';
import { DeliverySchema } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { DeclineError } from '../../src/client/errors.ts';
import type { AgentTask, Amounts } from '../../src/client/index.ts';

/** A task as the SDK hands it over, which keeps what is said of it. */
export function taskOf(id: string, fields: Partial<AgentTask> = {}) {
  const abort = new AbortController();
  const progress: unknown[][] = [];
  const spent: Amounts[] = [];
  const task: AgentTask = {
    id,
    capability: 'resize',
    input: undefined,
    payload: undefined,
    attempt: 1,
    labels: {},
    parentTaskId: '',
    granted: { slots: 1 },
    budgets: {},
    left: {},
    signal: abort.signal,
    deadline: undefined,
    timeLeftMs: Number.POSITIVE_INFINITY,
    progress: (...given) => void progress.push(given),
    spend: async (amounts) => {
      spent.push(amounts);
      return { tokens: 7 };
    },
    submit: async () => {
      throw new Error('not here');
    },
    decline: (reason) => {
      throw new DeclineError(reason);
    },
    delivery: create(DeliverySchema),
    ...fields,
  };
  return { task, progress, spent, cancel: (reason: string) => abort.abort(new Error(reason)) };
}
