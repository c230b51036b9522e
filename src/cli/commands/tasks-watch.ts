import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import { WatchTasksResponseSchema } from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { type ExitCode, exitCodes, UsageError } from '../errors.ts';
import { dim, plain, warn } from '../output/text.ts';
import { parsePositiveDuration } from '../parse.ts';
import { type TaskFilterOptions, taskFilter, taskFilterOf } from '../task-filter.ts';
import { followTask, taskChangeLine, tellOutcome } from '../task-progress.ts';
import { runWatch, watchNotices } from '../watch.ts';

interface WatchOptions extends TaskFilterOptions {
  progress?: number;
  cursor?: string;
}

/** `tasks watch` */
export function addWatchCommand(tasks: Command, run: Runner): void {
  taskFilter(
    tasks
      .command('watch')
      .description('follow one task until it has ended, or all of them as they change')
      .argument('[task]', 'its id; absent: all that the filters pick'),
  )
    .option(
      '--progress <duration>',
      'with progress, for each at most this often: 200ms to 1h',
      parsePositiveDuration,
    )
    .option('--cursor <cursor>', 'resume after it (from --output json)')
    .addHelpText(
      'after',
      `
Examples:
  orchestrator tasks watch 0198a1b2-… > output
  orchestrator tasks watch --owner team-a --progress 5s

Of one task the output goes to stdout and the code says how it ended, as with tasks submit --wait.`,
    )
    .action((id: string | undefined, options: WatchOptions, command: Command) =>
      run(command, (context) =>
        id === undefined ? watchAll(context, options) : watchOne(context, id, options),
      ),
    );
}

async function watchOne(context: Context, id: string, options: WatchOptions): Promise<ExitCode> {
  const others = Object.values(options).some((value) => value !== undefined);
  if (others) throw new UsageError('one task, or filters: not both');
  const { connection, namespace, call } = context;
  const { task } = await connection.tasks.getTask({ namespace, taskId: id }, call);
  const ended = await followTask(context, id, task);
  if (ended !== undefined) return tellOutcome(context, ended);
  context.note([plain('the task goes on; '), dim(`to end it: orchestrator tasks cancel ${id}`)]);
  return exitCodes.interrupted;
}

async function watchAll(context: Context, options: WatchOptions): Promise<ExitCode> {
  const { connection, namespace, signal, timeoutMs, format } = context;
  const { progress, cursor = '' } = options;
  const filter = taskFilterOf(options);
  let synced = cursor !== '';
  await runWatch({
    open: (from, stop) =>
      connection.tasks.watchTasks(
        {
          namespace,
          filter,
          cursor: from,
          ...(progress !== undefined && { progressInterval: durationFromMs(progress) }),
        },
        { signal: stop },
      ),
    cursorOf: (response) => response.cursor,
    receive: (response) => {
      if (format === 'json') return context.json(WatchTasksResponseSchema, response, 'line');
      const nowMs = Date.now();
      for (const { task } of response.changes)
        if (task !== undefined) context.say(taskChangeLine(task, nowMs));
      if (response.synced && !synced) context.say([dim('so it is now; changes follow as they happen')]);
      synced ||= response.synced;
    },
    ...watchNotices(context),
    restart:
      format === 'json'
        ? undefined
        : () => {
            synced = false;
            context.note([warn('the change log no longer reaches back that far: '), plain('all tasks anew')]);
          },
    signal,
    firstWithinMs: timeoutMs,
    cursor,
  });
  return exitCodes.interrupted;
}
