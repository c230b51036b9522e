import type { Command } from 'commander';
import {
  CancelTaskResponseSchema,
  Task_State,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { type ExitCode, exitCodes } from '../errors.ts';
import { taskStateSpan } from '../output/task-cells.ts';
import { dim, good, plain, strong, warn } from '../output/text.ts';
import { partOfRequestId, withRequestId } from '../request-id.ts';

interface CancelOptions {
  reason?: string;
  requestId?: string;
}

/** `tasks cancel` */
export function addCancelCommand(tasks: Command, run: Runner): void {
  tasks
    .command('cancel')
    .description('end tasks, with all tasks below them; their agents are told at once')
    .argument('<task...>', 'their ids')
    .option('--reason <text>', 'why; agents and events show it')
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .addHelpText('after', '\nCode 4: one of them had ended otherwise before.')
    .action((ids: string[], options: CancelOptions, command: Command) =>
      run(command, (context) => cancelTasks(context, [...new Set(ids)], options)),
    );
}

async function cancelTasks(
  context: Context,
  ids: readonly string[],
  { reason = '', requestId: given }: CancelOptions,
): Promise<ExitCode> {
  const { connection, namespace, call } = context;
  let exitCode: ExitCode = exitCodes.ok;
  await withRequestId(context, given, async (requestId) => {
    for (const taskId of ids) {
      const response = await connection.tasks.cancelTask(
        { namespace, taskId, reason, requestId: partOfRequestId(requestId, taskId) },
        call,
      );
      const { task, cancelled } = response;
      const state = task?.state ?? Task_State.UNSPECIFIED;
      if (!cancelled && state !== Task_State.CANCELLED) exitCode = exitCodes.conflict;
      if (context.format === 'json') context.json(CancelTaskResponseSchema, response, 'line');
      else if (cancelled)
        context.say([good('cancelled: '), strong(taskId), dim(` at revision ${task?.revision ?? 0n}`)]);
      else context.say([warn('had ended: '), strong(taskId), plain(' is '), taskStateSpan(state)]);
    }
  });
  return exitCode;
}
