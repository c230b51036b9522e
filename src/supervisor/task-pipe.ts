import type { Transform, Writable } from 'node:stream';
import {
  AgentError,
  type AgentTask,
  type Answerable,
  BudgetSpentError,
  PermanentError,
} from '../client/index.ts';
import { cleanLine } from './last-lines.ts';
import { endWords, type RunEnd } from './policy.ts';
import {
  answerFilter,
  idOfHead,
  lineOf,
  maxLineBytes,
  parseAnswer,
  type TaskAnswer,
  taskLine,
} from './task-lines.ts';

interface Entry {
  readonly task: AgentTask;
  readonly resolve: (output: Answerable) => void;
  readonly reject: (error: unknown) => void;
  /** It was cancelled: so long is waited for what the program says to that. */
  cancelled: NodeJS.Timeout | undefined;
}

/** How much of a line is shown that is not understood. */
const shownChars = 120;

/** Hands tasks to a program as lines of JSON on its stdin, and takes its answers from its stdout. */
export class TaskPipe {
  readonly #note: (text: string) => void;
  readonly #cancelWaitMs: number;
  /** What the program has and has not answered, by task id. */
  readonly #entries = new Map<string, Entry>();
  #stdin: Writable | undefined;

  constructor(options: {
    /** One line for people. */
    note: (text: string) => void;
    /** A cancelled task that the program does not answer keeps its slot for so long. */
    cancelWaitMs: number;
  }) {
    this.#note = options.note;
    this.#cancelWaitMs = options.cancelWaitMs;
  }

  /** The program runs. Its stdout goes through what is returned, from which comes what is no answer. */
  begin(stdin: Writable): Transform {
    stdin.on('error', () => {}); // the program does not read any more: its end is told by itself
    this.#stdin = stdin;
    return answerFilter({
      line: (text) => this.#answer(text),
      tooLong: (head) => this.#tooLong(head),
    });
  }

  /** The program has ended. */
  ended(end: RunEnd): void {
    this.#stdin = undefined;
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    for (const { reject, cancelled } of entries) {
      clearTimeout(cancelled);
      reject(new Error(`the program ended (${endWords(end)}) before it answered`));
    }
  }

  /** Why it takes no task now, or not this one. */
  readonly declines = ({ id }: { id: string }): string | undefined => {
    if (this.#stdin === undefined) return 'the program does not run now';
    return this.#entries.has(id) ? 'the program has not answered an earlier attempt yet' : undefined;
  };

  /** Hands a task over; resolves to what the program answers. */
  readonly handle = (task: AgentTask): Promise<Answerable> => {
    const refused = this.declines(task); // also what waited here for its turn
    const stdin = this.#stdin;
    if (stdin === undefined || refused !== undefined) return task.decline(refused ?? '');
    return new Promise((resolve, reject) => {
      const entry: Entry = { task, resolve, reject, cancelled: undefined };
      this.#entries.set(task.id, entry);
      stdin.write(taskLine(task));
      task.signal.addEventListener('abort', () => this.#cancel(entry), { once: true });
      if (task.signal.aborted) this.#cancel(entry);
    });
  };

  #cancel(entry: Entry): void {
    const { task, reject } = entry;
    if (this.#entries.get(task.id) !== entry) return;
    const { reason } = task.signal;
    const words = reason instanceof Error ? reason.message : 'cancelled';
    this.#stdin?.write(lineOf({ id: task.id, cancel: true, reason: words }));
    entry.cancelled = setTimeout(() => {
      this.#note(
        `has not answered the cancelled task ${task.id} for ${this.#cancelWaitMs / 1_000} s: others may come`,
      );
      reject(reason); // whatever it says later is not wanted
    }, this.#cancelWaitMs);
  }

  #answer(text: string): void {
    const answer = parseAnswer(text);
    if (typeof answer === 'string') {
      this.#ignore(answer, text);
      return;
    }
    const entry = this.#entries.get(answer.id);
    if (entry === undefined) {
      this.#ignore('it has no such task', text);
      return;
    }
    const { task } = entry;
    const over = task.signal.aborted;
    if (answer.progress !== undefined && !over) {
      const { done, total, name } = answer.progress;
      task.progress(done, total, name);
    }
    if (answer.spent !== undefined && !over) this.#spend(task, answer.spent);
    if (answer.output !== undefined || answer.error !== undefined) this.#end(entry, answer);
  }

  #end(entry: Entry, { output, error, retryable }: TaskAnswer): void {
    this.#entries.delete(entry.task.id);
    clearTimeout(entry.cancelled);
    if (error === undefined) entry.resolve(output);
    else entry.reject(retryable ? new Error(error) : new PermanentError(error));
  }

  /** Tells the program what is left then, or that it was refused. */
  #spend(task: AgentTask, spent: Record<string, number>): void {
    const tell = (line: object): void => {
      if (this.#entries.get(task.id)?.task === task) this.#stdin?.write(lineOf({ id: task.id, ...line }));
    };
    task.spend(spent).then(
      (left) => tell({ left }),
      (error: unknown) => {
        if (task.signal.aborted) return; // it is cancelled
        const reason = error instanceof AgentError ? error.message : 'not taken';
        const left = error instanceof BudgetSpentError ? error.left : task.left;
        tell({ refused: spent, reason, left });
      },
    );
  }

  /** It would be waited for without end. */
  #tooLong(head: string): void {
    const why = `it is longer than ${maxLineBytes} bytes`;
    this.#ignore(why, head);
    const entry = this.#entries.get(idOfHead(head) ?? '');
    if (entry !== undefined)
      this.#end(entry, { id: entry.task.id, error: `its answer was not taken: ${why}`, retryable: false });
  }

  #ignore(why: string, text: string): void {
    const shown = cleanLine(text.slice(0, shownChars));
    this.#note(`wrote a line that is no answer to a task (${why}), ignored: ${shown}`);
  }
}
