import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Command, Option } from 'commander';
import {
  ExplainTaskResponseSchema,
  GetTaskResponseSchema,
  GrantTaskBudgetResponseSchema,
  type ListTasksResponse,
  ListTasksResponseSchema,
  type Task_State,
  Task_StateSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError, type ExitCode, exitCodes, UsageError } from '../errors.ts';
import { sharesOf } from '../output/amounts.ts';
import { enumChoices } from '../output/names.ts';
import { renderTable } from '../output/table.ts';
import { countWords, hasEnded, taskCells, taskColumns, wideTaskColumns } from '../output/task-cells.ts';
import { renderTask, renderTaskExplanation } from '../output/task-detail.ts';
import { dim, good, plain, strong } from '../output/text.ts';
import { collectAmount, collectEnum, parseCount, parsePositiveDuration } from '../parse.ts';
import { withRequestId } from '../request-id.ts';
import { type TaskFilterOptions, taskFilter, taskFilterOf } from '../task-filter.ts';
import { outcomeCode, writeOutput } from '../task-progress.ts';
import { addCancelCommand } from './tasks-cancel.ts';
import { addSubmitCommand } from './tasks-submit.ts';
import { addWatchCommand } from './tasks-watch.ts';

const pageSize = 500;
const ALL: Task_State[] = Task_StateSchema.values.slice(1).map(({ number }) => number as Task_State);

/** `tasks submit|list|get|watch|cancel|explain|grant` */
export function addTaskCommands(program: Command, run: Runner): void {
  const tasks = program
    .command('tasks')
    .alias('task')
    .description('work for whoever can do it: give, see, follow, end, understand');
  addSubmitCommand(tasks, run);

  const states = new Option(
    '--state <state>',
    'only in one of these states; default: those that have not ended',
  )
    .choices(enumChoices(Task_StateSchema))
    .argParser(collectEnum(Task_StateSchema));
  taskFilter(tasks.command('list').alias('ls').description('tasks by id, and why each of them waits'))
    .addOption(states)
    .option('--all', 'those that have ended too')
    .option('--limit <count>', 'at most so many', parseCount(1, 1_000_000), 1_000)
    .action((options: TaskFilterOptions & { all?: boolean; limit: number }, command: Command) =>
      run(command, (context) => listTasks(context, options)),
    );

  tasks
    .command('get')
    .description('one task: how it stands, what was asked for, its attempts and its output')
    .argument('<task>', 'its id')
    .option('--wait <duration>', 'until it has ended, at most so long (up to 1h)', parsePositiveDuration)
    .option('--with-input', 'with its input')
    .option('--result', 'nothing but its output, as it is; the code says how it ended')
    .action((id: string, options: GetOptions, command: Command) =>
      run(command, (context) => getTask(context, id, options)),
    );

  addWatchCommand(tasks, run);
  addCancelCommand(tasks, run);

  tasks
    .command('explain')
    .description('why a task is where it is: what it waits for, where it would go, what was tried')
    .argument('<task>', 'its id')
    .action((taskId: string, _options: unknown, command: Command) =>
      run(command, async (context) => {
        const { connection, namespace, call, format, style } = context;
        const response = await connection.tasks.explainTask({ namespace, taskId }, call);
        if (format === 'json') return context.json(ExplainTaskResponseSchema, response, 'document');
        context.print(renderTaskExplanation(response, style, Date.now()));
      }),
    );

  tasks
    .command('grant')
    .description('give a task more to spend, of its parent’s budgets or the namespace’s')
    .argument('<task>', 'its id')
    .argument('<name=amount...>', 'how much more, as tokens=1000')
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .action((taskId: string, amounts: string[], options: { requestId?: string }, command: Command) =>
      run(command, (context) => grantBudget(context, taskId, amounts, options.requestId)),
    );
}

async function listTasks(
  context: Context,
  options: TaskFilterOptions & { all?: boolean; limit: number },
): Promise<void> {
  if (options.all === true && options.state !== undefined)
    throw new UsageError('--all and --state: only one of them');
  const { connection, namespace, call, format, style } = context;
  const state = options.all === true ? ALL : options.state;
  const filter = taskFilterOf({ ...options, ...(state !== undefined && { state }) });
  const all: ListTasksResponse = create(ListTasksResponseSchema);
  do {
    const size = Math.min(pageSize, options.limit - all.tasks.length);
    const page = await connection.tasks.listTasks(
      { namespace, filter, pageSize: size, pageToken: all.nextPageToken },
      call,
    );
    all.tasks.push(...page.tasks);
    all.nextPageToken = page.nextPageToken;
    all.counts = page.counts;
  } while (all.nextPageToken !== '' && all.tasks.length < options.limit);
  if (format === 'json') return context.json(ListTasksResponseSchema, all, 'document');
  const nowMs = Date.now();
  const wide = format === 'wide';
  const columns = wide ? [...taskColumns, ...wideTaskColumns] : taskColumns;
  const rows = all.tasks.map((task) => taskCells(task, nowMs, wide));
  if (rows.length > 0) context.print(renderTable(columns, rows, style));
  const counts = countWords(all.counts);
  const open = counts === '' ? 'nothing is to be done' : `in the namespace: ${counts}`;
  context.note([dim(rows.length === 0 ? `no tasks match; ${open}` : open)]);
  if (all.nextPageToken !== '') context.note([dim('there are more: raise --limit')]);
}

interface GetOptions {
  wait?: number;
  withInput?: boolean;
  result?: boolean;
}

/** The way to the service and back takes so much longer than the wait, at most. */
const WAY_MS = 5_000;

async function getTask(context: Context, taskId: string, options: GetOptions): Promise<ExitCode> {
  const { connection, namespace, call, signal, timeoutMs, format, style } = context;
  const { wait, withInput = false, result = false } = options;
  const response = await connection.tasks.getTask(
    { namespace, taskId, withInput, ...(wait !== undefined && { wait: durationFromMs(wait) }) },
    wait === undefined ? call : { signal, timeoutMs: Math.max(timeoutMs, wait + WAY_MS) },
  );
  const { task } = response;
  if (task === undefined) throw new CommandError('the service answered without a task');
  if (result) {
    if (!hasEnded(task)) throw new CommandError(`task ${taskId} has not ended`);
    writeOutput(context, task);
    if (task.error !== '') context.note([plain(task.error)]);
    return outcomeCode(task);
  }
  if (format === 'json') context.json(GetTaskResponseSchema, response, 'document');
  else context.print(renderTask(task, style, Date.now()));
  return exitCodes.ok;
}

async function grantBudget(
  context: Context,
  taskId: string,
  words: readonly string[],
  given: string | undefined,
): Promise<void> {
  const { connection, namespace, call } = context;
  const amounts = words.reduce<ReadonlyMap<string, bigint> | undefined>(
    (before, word) => collectAmount(word, before),
    undefined,
  );
  const response = await withRequestId(context, given, (requestId) =>
    connection.tasks.grantTaskBudget(
      { namespace, taskId, budgets: Object.fromEntries(amounts ?? []), requestId },
      call,
    ),
  );
  if (context.format === 'json') return context.json(GrantTaskBudgetResponseSchema, response, 'document');
  const { spent = {}, budgets = {} } = response.task ?? {};
  context.say([good('granted: '), strong(taskId), plain(` has spent ${sharesOf(spent, budgets)}`)]);
}
