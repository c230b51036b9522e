import type { Work } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type Result,
  DeliveryUpdate_State as State,
  type Task,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { msFromDuration } from '../../../src/lib/proto-time.ts';
import type { FaultSession } from '../faults/fault-session.ts';
import type { Random } from '../faults/random.ts';
import type { TaskBook } from './task-book.ts';

export interface TaskDeskOptions {
  agentId: string;
  random: Random;
  book: TaskBook;
  /** The session that the agent goes by, open or not. */
  current(): FaultSession | undefined;
}

interface Job {
  work: Work;
  task: Task;
  spent: Record<string, bigint>;
  /** What it ended with; undefined: it is worked on. */
  end: End | undefined;
  timers: NodeJS.Timeout[];
}

interface End {
  state: State;
  output: string;
  error: string;
  retryable: boolean;
}

interface Waiting {
  job: Job;
  attempt: bigint;
  state: State;
  spent: Record<string, bigint>;
}

/** What of tasks an agent does badly, as shares. */
const MANNERS = { overlooks: 0.03, declines: 0.08, silent: 0.1, fails: 0.15, final: 0.2, greedy: 0.1 };

/** An agent's tasks: it takes them, spends, fails and finishes by chance, and repeats what was not answered. */
export class TaskDesk {
  /** It takes everything, is quick and succeeds. */
  diligent = false;
  readonly #options: TaskDeskOptions;
  readonly #jobs = new Map<string, Job>();
  readonly #waiting = new Map<string, Waiting>();
  #frames = 0;

  constructor(options: TaskDeskOptions) {
    this.#options = options;
  }

  get held(): Work[] {
    return [...this.#jobs.values()].map(({ work }) => work);
  }

  get busy(): boolean {
    return this.#jobs.size > 0;
  }

  /** For people. */
  get told(): string {
    const says = [...this.#waiting.values()].map(({ job, state }) => `${job.work.deliveryId} ${state}`);
    return `works on [${[...this.#jobs.keys()].join()}], says [${says.join()}]`;
  }

  take(work: Work, task: Task): void {
    const { random, book } = this.#options;
    book.count('deliveries');
    const known = this.#jobs.get(work.deliveryId);
    if (known !== undefined) {
      // It comes again: the new attempt is answered with what there is to say.
      known.work = work;
      this.#forgetSaid(known);
      if (known.end === undefined) this.#say(known, State.ACCEPTED);
      else this.#say(known, known.end.state);
      return;
    }
    const job: Job = { work, task, spent: {}, end: undefined, timers: [] };
    const draw = (share: number): boolean => !this.diligent && random.chance(share);
    if (draw(MANNERS.overlooks)) return;
    if (draw(MANNERS.declines)) {
      job.end = { state: State.DECLINED, output: '', error: 'not now', retryable: true };
      this.#say(job, State.DECLINED);
      return;
    }
    this.#jobs.set(work.deliveryId, job);
    if (!draw(MANNERS.silent)) this.#say(job, State.ACCEPTED);
    const takesMs = draw(0.25) ? random.between(200, 1200) : random.between(0, 80);
    for (const share of [0.3, 0.6]) {
      job.timers.push(setTimeout(() => this.#spend(job, draw(MANNERS.greedy)), takesMs * share));
    }
    const fails = draw(MANNERS.fails);
    const retryable = !random.chance(MANNERS.final);
    const tag = random.between(0, 1_000_000);
    job.timers.push(
      setTimeout(() => {
        const output = `${task.id} by ${this.#options.agentId} in ${work.deliveryId}: ${tag}`;
        job.end = fails
          ? { state: State.FAILED, output: '', error: 'it went wrong', retryable }
          : { state: State.SUCCEEDED, output, error: '', retryable: false };
        this.#say(job, job.end.state);
      }, takesMs),
    );
  }

  revoked(work: Work): void {
    const job = this.#jobs.get(work.deliveryId);
    this.#options.book.count('revoked');
    if (job !== undefined && job.work.attempt <= work.attempt) this.#drop(job);
  }

  /** Says everything again that was not answered: a new session has begun. */
  again(): void {
    for (const [frameId, waiting] of this.#waiting) this.#send(frameId, waiting);
  }

  answered(session: FaultSession, result: Result): void {
    const { book, current } = this.#options;
    const waiting = this.#waiting.get(result.frameId);
    const isOld = session !== current() || result.reason === 'SESSION_SUPERSEDED';
    if (waiting === undefined || (result.code !== 0 && isOld)) return;
    if (result.code !== 0 && result.retryAfter !== undefined) {
      setTimeout(() => this.#send(result.frameId, waiting), msFromDuration(result.retryAfter)).unref();
      return;
    }
    this.#waiting.delete(result.frameId);
    const { job, state, spent, attempt } = waiting;
    if (result.code !== 0) {
      book.count(`refused ${result.reason}`);
      // It may not spend so much, and goes on with what it has: whether the task ends is not for the agent to say.
      if (result.reason === 'BUDGET_SPENT' && state === State.ACCEPTED) return;
      if (job.work.attempt === attempt) this.#drop(job);
      return;
    }
    book.spent(job.task.id, job.work.deliveryId, spent);
    for (const [name, amount] of Object.entries(spent)) {
      if (amount > (job.spent[name] ?? 0n)) job.spent[name] = amount;
    }
    if (state === State.SUCCEEDED) book.stored(job.task.id, job.end?.output ?? '');
    if (state !== State.ACCEPTED) this.#drop(job);
  }

  forget(): void {
    for (const job of this.#jobs.values()) for (const timer of job.timers) clearTimeout(timer);
    this.#jobs.clear();
    this.#waiting.clear();
  }

  #spend(job: Job, greedy: boolean): void {
    const spent: Record<string, bigint> = {};
    for (const [name, budget] of Object.entries(job.task.budgets)) {
      const left = Number(budget - (job.task.spent[name] ?? 0n) - (job.spent[name] ?? 0n));
      if (left <= 0) continue;
      const share = greedy ? left + 5 : this.#options.random.between(0, Math.floor(left / 3));
      spent[name] = (job.spent[name] ?? 0n) + BigInt(share);
    }
    if (Object.keys(spent).length === 0) return;
    this.#options.book.count(greedy ? 'greedy' : 'spends');
    this.#say(job, State.ACCEPTED, spent);
  }

  #say(job: Job, state: State, spent: Record<string, bigint> = { ...job.spent }): void {
    this.#frames += 1;
    const frameId = `${this.#frames}`;
    const waiting: Waiting = { job, attempt: job.work.attempt, state, spent };
    this.#waiting.set(frameId, waiting);
    if (state === State.SUCCEEDED) this.#options.book.told(job.task.id, job.end?.output ?? '');
    this.#send(frameId, waiting);
  }

  #send(frameId: string, waiting: Waiting): void {
    const session = this.#options.current();
    if (!session?.open || this.#waiting.get(frameId) !== waiting) return;
    const { job, state, spent, attempt } = waiting;
    const { output = '', error = '', retryable = false } = state === State.ACCEPTED ? {} : (job.end ?? {});
    const work = { deliveryId: job.work.deliveryId, attempt };
    const value = {
      ...{ work, state, error, retryable, spent },
      ...(state === State.SUCCEEDED && { output: { data: { case: 'text' as const, value: output } } }),
    };
    session.send({ frameId, frame: { case: 'deliveryUpdate', value } });
  }

  #drop(job: Job): void {
    for (const timer of job.timers) clearTimeout(timer);
    if (this.#jobs.get(job.work.deliveryId) === job) this.#jobs.delete(job.work.deliveryId);
    this.#forgetSaid(job);
  }

  #forgetSaid(job: Job): void {
    for (const [frameId, waiting] of this.#waiting) if (waiting.job === job) this.#waiting.delete(frameId);
  }
}
