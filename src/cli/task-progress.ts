import { durationFromMs } from '@bufbuild/protobuf/wkt';
import {
  type GetTaskResponse,
  GetTaskResponseSchema,
  type Task,
  Task_State,
  type WatchTasksResponse,
} from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { Context } from './context.ts';
import { type ExitCode, exitCodes } from './errors.ts';
import { createLiveView, type LiveView } from './output/live-view.ts';
import { hasEnded, pendingWords, progressLine, taskStateSpan } from './output/task-cells.ts';
import { dim, type Line, plain, renderLine, strong, warn } from './output/text.ts';
import { formatMs, timestampMs } from './output/time.ts';
import { payloadContent } from './payload.ts';
import { runWatch, watchNotices } from './watch.ts';

const REDRAW_MS = 1_000;
/** How often a terminal is told of progress; other outputs are told of states alone. */
const PROGRESS_MS = 500;
const BAR = 24;

/**
 * Follows a task on stderr until it has ended. Resolves to it with its output; to nothing where Ctrl-C came first.
 * @param before as it was when it was last told
 */
export async function followTask(
  context: Context,
  id: string,
  before?: Task,
): Promise<GetTaskResponse | undefined> {
  const { connection, namespace, signal, timeoutMs, call, io } = context;
  const over = new AbortController();
  /** Whether the present watch has told of it. */
  let heard = false;
  const view = io.stderr.isTTY === true ? createLiveView(io.stderr) : undefined;
  const story = new Story(context, id, view);
  const redraw = view === undefined ? undefined : setInterval(() => story.draw(), REDRAW_MS);
  const read = async () => {
    const response = await connection.tasks.getTask(
      { namespace, taskId: id, minRevision: story.revision },
      call,
    );
    if (response.task !== undefined) story.receive(response.task);
    return response;
  };
  try {
    if (before !== undefined) story.receive(before);
    if (!story.isOver) {
      await runWatch<WatchTasksResponse>({
        open: (cursor, stop) =>
          connection.tasks.watchTasks(
            {
              ...{ namespace, taskId: id, cursor },
              ...(view !== undefined && { progressInterval: durationFromMs(PROGRESS_MS) }),
            },
            { signal: stop },
          ),
        cursorOf: ({ cursor }) => cursor,
        receive: async ({ changes, synced }) => {
          for (const { task } of changes) {
            if (task?.id !== id) continue;
            heard = true;
            story.receive(task);
          }
          // What has ended already is not in the snapshot.
          if (synced && !heard) await read();
          heard ||= synced;
          if (story.isOver) over.abort();
        },
        ...watchNotices(context),
        restart: () => {
          heard = false;
          story.anew();
        },
        anew: () => {
          heard = false;
        },
        signal: AbortSignal.any([signal, over.signal]),
        firstWithinMs: timeoutMs,
      });
    }
    return story.isOver ? await read() : undefined;
  } finally {
    clearInterval(redraw);
    view?.end();
  }
}

/** What became of a task: its output on stdout, why there is none on stderr, and a code for scripts. */
export function tellOutcome(context: Context, response: GetTaskResponse): ExitCode {
  const { task } = response;
  if (context.format === 'json') context.json(GetTaskResponseSchema, response, 'document');
  else if (task?.state === Task_State.SUCCEEDED) writeOutput(context, task);
  else if (task !== undefined) {
    const why = task.error === '' ? [] : [plain(`: ${task.error}`)];
    context.note([strong(task.id), plain(' '), taskStateSpan(task.state), ...why]);
  }
  return outcomeCode(task);
}

export function outcomeCode(task: Task | undefined): ExitCode {
  switch (task?.state) {
    case Task_State.SUCCEEDED:
      return exitCodes.ok;
    case Task_State.CANCELLED:
      return exitCodes.cancelled;
    case Task_State.TIMED_OUT:
      return exitCodes.timedOut;
    default:
      return exitCodes.failed;
  }
}

/** As it is for a program; on a terminal others' bytes are shown escaped, as everywhere. */
export function writeOutput({ io, say }: Context, { output }: Task): void {
  const content = payloadContent(output);
  if (io.stdout.isTTY !== true) io.stdout.write(content);
  else if (content.length > 0)
    say([plain(typeof content === 'string' ? content : Buffer.from(content).toString('base64'))]);
}

/** How a task went so far. */
class Story {
  readonly #context: Context;
  readonly #id: string;
  readonly #view: LiveView | undefined;
  #task: Task | undefined;
  #said = '';

  constructor(context: Context, id: string, view: LiveView | undefined) {
    this.#context = context;
    this.#id = id;
    this.#view = view;
  }

  get isOver(): boolean {
    return this.#task !== undefined && hasEnded(this.#task);
  }

  get revision(): bigint {
    return this.#task?.revision ?? 0n;
  }

  /** The store may have begun a new epoch, in which revisions begin again. */
  anew(): void {
    if (this.#task !== undefined) this.#task = { ...this.#task, revision: 0n };
  }

  receive(task: Task): void {
    if (task.revision < this.revision) return;
    this.#task = withProgressOf(task, this.#task);
    if (this.#view !== undefined) {
      this.draw();
      return;
    }
    const stands = `${task.state} ${task.agentId} ${task.attemptCount} ${task.pending?.reason ?? 0}`;
    if (stands === this.#said) return;
    this.#said = stands;
    this.#context.note(headline(task, Date.now()));
  }

  draw(): void {
    const nowMs = Date.now();
    const task = this.#task;
    const { noticeStyle, io } = this.#context;
    const lines: Line[] = task === undefined ? [[strong(this.#id), dim(' …')]] : [headline(task, nowMs)];
    if (task?.progress !== undefined && !hasEnded(task)) lines.push(progressLine(task.progress, BAR));
    this.#view?.draw(
      lines.map((line) => renderLine(line, { ...noticeStyle, columns: io.stderr.columns || 80 })),
    );
  }
}

/** Changes come without progress, which is told by itself. */
function withProgressOf(task: Task, before: Task | undefined): Task {
  const same = before?.state === task.state && before.agentId === task.agentId;
  if (!same || task.progress !== undefined || before.progress === undefined) return task;
  return { ...task, progress: before.progress };
}

/** `sum-1 RUNNING on a1 for 12s, attempt 2`, `sum-1 PENDING: NO_ROOM for 12s: 3 agents are full`. */
function headline(task: Task, nowMs: number): Line {
  const { id, state, agentId, attemptCount, pending, createTime, endTime } = task;
  const start: Line = [strong(id), plain(' '), taskStateSpan(state)];
  if (state === Task_State.PENDING) return [...start, plain(': '), warn(pendingWords(pending, nowMs))];
  const on = agentId === '' ? [] : [plain(' on '), strong(agentId)];
  const attempt = attemptCount > 1 ? [plain(`, attempt ${attemptCount}`)] : [];
  if (hasEnded(task)) {
    const took =
      createTime === undefined || endTime === undefined
        ? []
        : [dim(` after ${formatMs(Math.max(0, timestampMs(endTime) - timestampMs(createTime)))}`)];
    return [...start, ...on, ...attempt, ...took];
  }
  const sinceMs = sinceOf(task);
  const since = sinceMs === undefined ? [] : [dim(` for ${formatMs(Math.max(0, nowMs - sinceMs))}`)];
  return [...start, ...on, ...since, ...attempt];
}

/** Since when its present attempt is where it is. */
function sinceOf({ attempts, agentId }: Task): number | undefined {
  const attempt = attempts.findLast((each) => each.agentId === agentId && each.endTime === undefined);
  const time = attempt?.acceptTime ?? attempt?.assignTime;
  return time === undefined ? undefined : timestampMs(time);
}

/** A line for each change, for those who follow many. */
export function taskChangeLine(task: Task, nowMs: number): Line {
  const why = task.error === '' ? [] : [plain(`: ${task.error}`)];
  const progress = task.progress === undefined ? [] : [plain('  '), ...progressLine(task.progress, 10)];
  return [...headline(task, nowMs), ...why, ...progress, dim(`  ${task.spec?.capability ?? ''}`)];
}
