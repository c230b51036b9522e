import { TaskService } from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { ChangeTasks } from '../domain/coordination/tasks/change-tasks.ts';
import type { ExplainTask } from '../domain/coordination/tasks/explain-task.ts';
import type { SubmitTasks } from '../domain/coordination/tasks/submit-tasks.ts';
import type { TaskReader } from '../domain/coordination/tasks/task-reader.ts';
import type { TaskView } from '../domain/coordination/tasks/task-view.ts';
import { watchTasks } from '../domain/coordination/tasks/task-watch.ts';
import type { Views } from '../state/views.ts';
import { callerOf } from './caller.ts';
import { revisionWait } from './revision-wait.ts';
import { bindService, type ServiceBinding } from './service.ts';

export interface TaskServiceOptions {
  submit: SubmitTasks;
  change: ChangeTasks;
  reader: TaskReader;
  explain: ExplainTask;
  view: TaskView;
  views: Views;
}

export function createTaskService(options: TaskServiceOptions): ServiceBinding {
  const { submit, change, reader, explain, view, views } = options;
  const seen = revisionWait(views);
  return bindService(TaskService, {
    submitTask: (request, context) => submit.submit(request, callerOf(context), context.trace()),
    batchSubmitTasks: (request, context) => submit.batch(request, callerOf(context), context.trace()),
    getTask: async (request, context) => {
      await seen(request, context);
      return reader.get(request, context.signal);
    },
    listTasks: async (request, context) => {
      await seen(request, context);
      return reader.list(request);
    },
    watchTasks: (request, context) => watchTasks(request, context.signal, { views, tasks: view, reader }),
    cancelTask: (request, context) => change.cancel(request, callerOf(context)),
    explainTask: (request) => explain.explain(request),
    grantTaskBudget: (request, context) => change.grant(request, callerOf(context)),
  });
}
