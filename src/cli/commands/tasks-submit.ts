import type { Command } from 'commander';
import {
  type SubmitTaskResponse,
  SubmitTaskResponseSchema,
  type Task,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError, type ExitCode, exitCodes, UsageError } from '../errors.ts';
import { pendingWords, taskStateSpan } from '../output/task-cells.ts';
import { dim, good, plain, strong } from '../output/text.ts';
import { withRequestId } from '../request-id.ts';
import { type TaskOptions, taskOptions, taskSpecOf } from '../task-options.ts';
import { followTask, tellOutcome } from '../task-progress.ts';

interface SubmitOptions extends TaskOptions {
  id?: string;
  mustFit?: boolean;
  wait?: boolean;
  cancelOnInterrupt?: boolean;
  requestId?: string;
}

/** `tasks submit` */
export function addSubmitCommand(tasks: Command, run: Runner): void {
  taskOptions(
    tasks
      .command('submit')
      .description('give a task to whoever can do it')
      .argument('<capability>', 'what its agent must be able to do'),
  )
    .option(
      '--id <task>',
      'its id; the same one again with the same task is the same task; default: one is made',
    )
    .option('--must-fit', 'refuse it when no agent that is known could ever do it')
    .option('--wait', 'show how far it is until it has ended, and print its output')
    .option('--cancel-on-interrupt', 'with --wait: Ctrl-C cancels it')
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .addHelpText(
      'after',
      `
Examples:
  orchestrator tasks submit summarize --input @report.txt --wait > summary.txt
  orchestrator tasks submit train --json --input '{"epochs": 3}' --resource gpu=1 --resource memory_bytes=8000000000 --must-fit
  orchestrator tasks submit research --budget tokens=50000 --label owner=team-a --deadline 2h --priority 10
  orchestrator tasks submit bill --key customer-7 --on-loss wait --wait-for-agent 10m

With --wait the output goes to stdout as it is, how far it is to stderr. Ctrl-C leaves the task as it is, and says how to cancel it.
Codes with --wait: 0: SUCCEEDED; 1: FAILED; 6: CANCELLED; 7: TIMED_OUT; 130: Ctrl-C. Code 4: there is another task with the
id, the parent has ended, no quota declares a budget, or no known agent could ever do it (--must-fit); 3: there is no such parent.`,
    )
    .action((capability: string, options: SubmitOptions, command: Command) =>
      run(command, (context) => submitTask(context, capability, options)),
    );
}

async function submitTask(context: Context, capability: string, options: SubmitOptions): Promise<ExitCode> {
  if (options.cancelOnInterrupt === true && options.wait !== true)
    throw new UsageError('--cancel-on-interrupt goes with --wait');
  const { connection, namespace, call } = context;
  const spec = await taskSpecOf(context, capability, options);
  const response = await withRequestId(context, options.requestId, (requestId) =>
    connection.tasks.submitTask(
      { namespace, taskId: options.id ?? '', spec, mustFit: options.mustFit === true, requestId },
      call,
    ),
  );
  const { task } = response;
  if (task === undefined) throw new CommandError('the service answered without a task');
  if (options.wait !== true) {
    tellSubmitted(context, response, task);
    return exitCodes.ok;
  }
  context.note([good('submitted: '), strong(task.id)]);
  const ended = await followTask(context, task.id, task);
  if (ended !== undefined) return tellOutcome(context, ended);
  if (options.cancelOnInterrupt === true) await cancelInterrupted(context, task.id);
  else
    context.note([
      plain('the task goes on; '),
      dim(`orchestrator tasks watch ${task.id}, or … cancel ${task.id}`),
    ]);
  return exitCodes.interrupted;
}

function tellSubmitted(context: Context, response: SubmitTaskResponse, task: Task): void {
  if (context.format === 'json') {
    context.json(SubmitTaskResponseSchema, response, 'document');
    return;
  }
  context.say([strong(task.id)]);
  const on = task.agentId === '' ? [] : [plain(' on '), strong(task.agentId)];
  const why = task.pending === undefined ? [] : [dim(`: ${pendingWords(task.pending, Date.now())}`)];
  context.note([good('submitted: '), taskStateSpan(task.state), ...on, ...why]);
}

/** The signal of Ctrl-C has fired, so this call goes without it. */
async function cancelInterrupted(context: Context, taskId: string): Promise<void> {
  const { connection, namespace, timeoutMs } = context;
  const request = { namespace, taskId, reason: 'whoever waited for it pressed Ctrl-C' };
  const { cancelled } = await connection.tasks.cancelTask(request, { timeoutMs });
  context.note([strong(taskId), plain(cancelled ? ' is cancelled' : ' had ended before')]);
}
