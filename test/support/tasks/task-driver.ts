import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { TaskService } from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { ResourceService } from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { Random } from '../faults/random.ts';
import { pause } from '../until.ts';
import type { Answer, Doors } from './doors.ts';
import type { TaskBook } from './task-book.ts';
import { OWNERS, quotaOf, type TaskInit, taskSpec } from './world.ts';

export interface TaskDriverOptions {
  name: string;
  doors: Doors;
  random: Random;
  book: TaskBook;
  pauseMs: number;
}

interface Submission {
  requestId: string;
  taskId: string;
  spec: TaskInit;
  /** It was submitted alone: its request can be repeated. */
  alone: boolean;
}

/** What a submission may be refused with. */
const REFUSALS: ReadonlySet<string> = new Set([
  ...['TASK_ENDED', 'TASK_NOT_FOUND', 'BUDGET_SPENT', 'BUDGET_UNKNOWN', 'UNPLACEABLE', 'NO_ROOM'],
]);
/** What other calls may be refused with besides. */
const OTHERS: ReadonlySet<string> = new Set([
  ...[...REFUSALS, 'ALLOCATION_ENDED', 'ALLOCATION_NOT_FOUND', 'QUOTA_IN_USE', 'CONTENTION', 'NO_SCHEDULER'],
]);
const LATEST = 40;

/** Does, one after the other, all that callers can do with tasks, allocations and quotas. */
export class TaskDriver {
  readonly #options: TaskDriverOptions;
  readonly #latest: (Submission & { id: string })[] = [];
  #count = 0;
  #stopping = false;
  #running: Promise<void> | undefined;

  constructor(options: TaskDriverOptions) {
    this.#options = options;
  }

  start(): void {
    this.#stopping = false;
    this.#running = this.#run();
  }

  /** Resolves when what is under way has its answer. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    const { random, pauseMs } = this.#options;
    while (!this.#stopping) {
      const draw = random.next();
      if (draw < 0.5) await this.#submit(this.#draw());
      else if (draw < 0.6) await this.#batch();
      else if (draw < 0.66) await this.#again();
      else if (draw < 0.72) await this.#cancel();
      else if (draw < 0.76) await this.#grant();
      else if (draw < 0.84) await this.#look();
      else if (draw < 0.94) await this.#allocate();
      else await this.#requota();
      await pause(pauseMs * random.next());
    }
  }

  #draw(): Submission {
    const { random, name } = this.#options;
    this.#count += 1;
    const given = random.chance(0.5) ? { taskId: `${name}-${this.#count}` } : { taskId: '' };
    const parent = random.chance(0.25) ? this.#pick() : undefined;
    const own = parent && {
      ...{ id: parent.id, owner: parent.spec.labels?.owner ?? '', budgets: parent.spec.budgets ?? {} },
    };
    return { requestId: `${name}-r${this.#count}`, ...given, spec: taskSpec(random, own), alone: true };
  }

  async #submit(submission: Submission): Promise<void> {
    const { doors, book } = this.#options;
    const { requestId, taskId, spec } = submission;
    const answer = await doors.ask(TaskService.method.submitTask, { requestId, taskId, spec });
    if (answer?.kind === 'ok') this.#stored(submission, answer.response.task?.id ?? '');
    else this.#refused(`submission of ${requestId}`, answer, REFUSALS);
    book.count('calls');
  }

  #stored(submission: Submission, id: string): void {
    const { book } = this.#options;
    const { requestId, taskId } = submission;
    if (taskId !== '' && id !== taskId) book.faults.push(`${requestId}: ${taskId} is called ${id}`);
    book.acknowledged(requestId, id);
    if (this.#latest.some((each) => each.id === id)) return;
    this.#latest.push({ ...submission, id });
    if (this.#latest.length > LATEST) this.#latest.shift();
  }

  async #batch(): Promise<void> {
    const { doors, book, random, name } = this.#options;
    const submissions = Array.from({ length: random.between(2, 12) }, () => ({
      ...this.#draw(),
      alone: false,
    }));
    this.#count += 1;
    const requestId = `${name}-b${this.#count}`;
    const tasks = submissions.map(({ taskId, spec }) => ({ taskId, spec }));
    const answer = await doors.ask(TaskService.method.batchSubmitTasks, { requestId, tasks });
    if (answer?.kind !== 'ok') {
      this.#refused(`batch ${requestId}`, answer, REFUSALS);
      return;
    }
    const { taskIds } = answer.response;
    if (taskIds.length !== tasks.length)
      book.faults.push(`${requestId}: ${taskIds.length} of ${tasks.length} ids`);
    for (const [index, submission] of submissions.entries()) this.#stored(submission, taskIds[index] ?? '');
  }

  /** A request that was answered before is answered with the same task. */
  async #again(): Promise<void> {
    const alone = this.#latest.filter((each) => each.alone);
    if (alone.length > 0) await this.#submit(this.#options.random.pick(alone));
  }

  async #cancel(): Promise<void> {
    const { doors, book } = this.#options;
    const taskId = this.#pick()?.id;
    if (taskId === undefined) return;
    const answer = await doors.ask(TaskService.method.cancelTask, { taskId, reason: 'nobody wants it' });
    if (answer?.kind !== 'ok') this.#refused(`cancel of ${taskId}`, answer, OTHERS);
    else if (answer.response.cancelled) book.count('cancelled');
  }

  async #grant(): Promise<void> {
    const { doors, random } = this.#options;
    const task = this.#pick();
    if (task === undefined || Object.keys(task.spec.budgets ?? {}).length === 0) return;
    this.#count += 1;
    const budgets = { tokens: BigInt(random.between(1, 20)) };
    const requestId = `${this.#options.name}-g${this.#count}`;
    const answer = await doors.ask(TaskService.method.grantTaskBudget, {
      taskId: task.id,
      budgets,
      requestId,
    });
    this.#refused(`grant to ${task.id}`, answer, OTHERS);
  }

  /** What is read never fails. */
  async #look(): Promise<void> {
    const { doors, random } = this.#options;
    const taskId = this.#pick()?.id;
    if (taskId === undefined) return;
    const draw = random.next();
    if (draw < 0.4)
      this.#refused('explain', await doors.ask(TaskService.method.explainTask, { taskId }), REFUSALS);
    else if (draw < 0.6) {
      this.#refused('list', await doors.ask(TaskService.method.listTasks, { pageSize: 50 }), REFUSALS);
    } else if (draw < 0.8) {
      this.#refused(
        'get',
        await doors.ask(TaskService.method.getTask, { taskId, withInput: true }),
        REFUSALS,
      );
    } else
      this.#refused('usage', await doors.ask(ResourceService.method.getUsage, { withAgents: true }), OTHERS);
  }

  /** Reserves, perhaps waits, perhaps keeps it for longer, and gives it back or lets it run out. */
  async #allocate(): Promise<void> {
    const { doors, book, random, name } = this.#options;
    this.#count += 1;
    const id = `${name}-a${this.#count}`;
    const owner = random.pick(OWNERS);
    const spends = random.chance(0.5);
    const answer = await doors.ask(ResourceService.method.createAllocation, {
      ...{ allocationId: id, requestId: `${id}-create` },
      spec: {
        resources: { cpu_milli: BigInt(random.between(50, 300)) },
        budgets: spends ? { tokens: 10n } : {},
        lease: durationFromMs(1_000),
        labels: owner === '' ? {} : { owner },
      },
      wait: durationFromMs(random.pick([0, 200])),
    });
    this.#refused(`allocation ${id}`, answer, new Set([...OTHERS, 'ALLOCATION_EXISTS']));
    if (answer?.kind !== 'ok') return;
    book.count('allocations');
    const spent = spends ? { tokens: BigInt(random.between(0, 10)) } : {};
    if (random.chance(0.4)) {
      const renewed = await doors.ask(ResourceService.method.renewAllocation, { allocationId: id, spent });
      this.#refused(`renewal of ${id}`, renewed, OTHERS);
    }
    if (random.chance(0.7)) {
      const released = await doors.ask(ResourceService.method.releaseAllocation, { allocationId: id, spent });
      this.#refused(`release of ${id}`, released, OTHERS);
    }
  }

  async #requota(): Promise<void> {
    const { doors, random } = this.#options;
    this.#count += 1;
    const quota = quotaOf(random.pick(OWNERS), random);
    const requestId = `${this.#options.name}-q${this.#count}`;
    const answer = await doors.ask(ResourceService.method.updateQuota, { quota, requestId });
    this.#refused(`quota of ${quota.owner}`, answer, OTHERS);
  }

  #pick(): (Submission & { id: string }) | undefined {
    return this.#latest.length === 0 ? undefined : this.#options.random.pick(this.#latest);
  }

  #refused(what: string, answer: Answer<unknown> | undefined, may: ReadonlySet<string>): void {
    const { book } = this.#options;
    if (answer?.kind !== 'refused') return;
    book.count(`refused ${answer.reason}`);
    if (!may.has(answer.reason)) book.faults.push(`${what}: ${answer.reason} ${answer.detail}`);
  }
}
