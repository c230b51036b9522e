import type { Work } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type Result,
  DeliveryUpdate_State as State,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { msFromDuration } from '../../../src/lib/proto-time.ts';
import type { AgentRecords } from './agent-records.ts';
import type { FaultSession } from './fault-session.ts';
import type { Random } from './random.ts';

export interface DeskOptions {
  records: AgentRecords;
  random: Random;
  /** The session that the agent goes by, open or not. */
  current(): FaultSession | undefined;
}

/** What came, as far as it matters to whoever works on it. */
export interface Assignment {
  work: Work;
  /** Else it is an order, which is never declined for good: somebody waits for its end. */
  isMessage: boolean;
  /** Of one key one is unanswered at a time. */
  orderingKey: string;
  /** What is said in the end to whoever waits for that. */
  answer: string | undefined;
}

/** A delivery that is worked on, or is finished without it being known that this is stored. */
interface Job extends Assignment {
  finished: boolean;
  timer: NodeJS.Timeout | undefined;
}

interface Waiting {
  deliveryId: string;
  attempt: bigint;
  state: State;
  /** Not to be tried again. */
  forGood: boolean;
  answer: string | undefined;
}

/** What a fault agent works on, and what it has said of that without being answered. */
export class Desk {
  /** It takes notice of everything, takes it on and is quick about it. */
  diligent = false;
  /** What a failover has lost and is sent again comes later in its line, and nobody answers the first of it any more. */
  fallsBack = false;
  readonly #options: DeskOptions;
  readonly #jobs = new Map<string, Job>();
  /** Updates without an answer, by frame id, in their order. */
  readonly #waiting = new Map<string, Waiting>();
  /** What came in this session and was not answered, by ordering key. */
  readonly #unanswered = new Map<string, string>();
  #frames = 0;

  constructor(options: DeskOptions) {
    this.#options = options;
  }

  get busy(): boolean {
    return this.#jobs.size > 0 || this.#waiting.size > 0;
  }

  /** Whether there is something to lose. */
  get working(): boolean {
    return [...this.#jobs.values()].some(({ finished }) => !finished);
  }

  get held(): Work[] {
    return [...this.#jobs.values()].map(({ work }) => work);
  }

  /** For people. */
  get told(): string {
    const said = [...this.#waiting.values()].map(({ deliveryId, state }) => `${deliveryId} ${state}`);
    return `works on [${[...this.#jobs.keys()].join()}], says [${said.join()}]`;
  }

  take(assignment: Assignment): void {
    const { random, records } = this.#options;
    const { work, isMessage, orderingKey } = assignment;
    const before = this.#unanswered.get(orderingKey);
    if (before !== undefined && before !== work.deliveryId && !this.fallsBack) {
      records.fault(`${work.deliveryId} came before ${before} of the same key, ${orderingKey}, was answered`);
    }
    this.#unanswered.set(orderingKey, work.deliveryId);
    const known = this.#jobs.get(work.deliveryId);
    if (known !== undefined) {
      // It is carried out once, however often it comes: the new attempt is answered.
      this.#unsay(work.deliveryId);
      known.work = work;
      this.#say(known, known.finished ? State.SUCCEEDED : State.ACCEPTED);
      return;
    }
    const job: Job = { ...assignment, finished: false, timer: undefined };
    // Not noticed: it comes again.
    if (!this.diligent && random.chance(0.03)) return;
    if (!this.diligent && random.chance(0.03) && records.attemptsOf(work.deliveryId) === 1) {
      this.#say(job, State.DECLINED, isMessage && random.chance(0.6));
      return;
    }
    this.#jobs.set(work.deliveryId, job);
    if (random.chance(0.85)) this.#say(job, State.ACCEPTED);
    const isLong = !this.diligent && random.chance(0.3);
    const takesMs = isLong ? random.between(200, 1200) : random.between(0, 100);
    job.timer = setTimeout(() => {
      job.finished = true;
      this.#say(job, State.SUCCEEDED);
    }, takesMs);
  }

  /** What is finished is said again until that is answered. */
  revoked(work: Work): void {
    this.#options.records.revoked(work);
    this.#answered(work.deliveryId);
    this.#drop(work, false);
  }

  /** Says everything again that was not answered: a new session has begun. */
  again(): void {
    this.#unanswered.clear();
    for (const [frameId, waiting] of this.#waiting) this.#send(frameId, waiting);
  }

  answered(session: FaultSession, result: Result): void {
    const { records, current } = this.#options;
    if (result.frameId.startsWith('probe')) {
      if (result.code === 0) records.fault(`its superseded session ${session.epoch} was obeyed`);
      return;
    }
    const waiting = this.#waiting.get(result.frameId);
    // What an old session refuses, the present one is asked again; the service may know sooner that it is an old one.
    const isOld = session !== current() || result.reason === 'SESSION_SUPERSEDED';
    if (waiting === undefined || (result.code !== 0 && isOld)) return;
    if (result.retryAfter !== undefined && result.code !== 0) {
      const again = () => this.#send(result.frameId, waiting);
      setTimeout(again, msFromDuration(result.retryAfter)).unref();
      return;
    }
    this.#waiting.delete(result.frameId);
    records.answered(waiting, result);
    const job = this.#jobs.get(waiting.deliveryId);
    if (job === undefined || job.work.attempt !== waiting.attempt) return;
    const isOver = waiting.state === State.SUCCEEDED || result.code !== 0;
    if (isOver) this.#drop(job.work, true);
  }

  /** Says on a superseded session that something is done: it must not be believed. */
  probe(old: FaultSession): void {
    const { records } = this.#options;
    const job = [...this.#jobs.values()].find(({ finished }) => !finished);
    if (job === undefined) return;
    records.probes += 1;
    this.#frames += 1;
    const value = { work: job.work, state: State.SUCCEEDED };
    old.send({ frameId: `probe-${this.#frames}`, frame: { case: 'deliveryUpdate', value } });
  }

  forget(): void {
    this.#unanswered.clear();
    for (const { timer } of this.#jobs.values()) clearTimeout(timer);
    this.#jobs.clear();
    this.#waiting.clear();
  }

  #say({ work: { deliveryId, attempt }, answer }: Job, state: State, forGood = false): void {
    this.#frames += 1;
    this.#answered(deliveryId);
    const waiting: Waiting = { deliveryId, attempt, state, forGood, answer };
    const frameId = `${this.#frames}`;
    this.#waiting.set(frameId, waiting);
    this.#send(frameId, waiting);
  }

  #answered(deliveryId: string): void {
    for (const [key, id] of this.#unanswered) if (id === deliveryId) this.#unanswered.delete(key);
  }

  #send(frameId: string, waiting: Waiting): void {
    const session = this.#options.current();
    if (!session?.open || this.#waiting.get(frameId) !== waiting) return;
    const { deliveryId, attempt, state, forGood, answer } = waiting;
    this.#options.records.said(waiting);
    const declined = state === State.DECLINED;
    const output = { data: { case: 'text' as const, value: answer ?? '' } };
    const value = {
      work: { deliveryId, attempt },
      ...{ state, retryable: declined && !forGood, error: declined ? 'not now' : '' },
      ...(state === State.SUCCEEDED && answer !== undefined && { output }),
    };
    session.send({ frameId, frame: { case: 'deliveryUpdate', value } });
  }

  /** @param wholly also what was not answered; else that is said again, and the service answers what it knows */
  #drop(work: Work, wholly: boolean): void {
    const job = this.#jobs.get(work.deliveryId);
    if (job === undefined || job.work.attempt !== work.attempt) return;
    if (!wholly && job.finished) return;
    clearTimeout(job.timer);
    this.#jobs.delete(work.deliveryId);
    this.#unsay(work.deliveryId);
  }

  #unsay(deliveryId: string): void {
    for (const [frameId, waiting] of this.#waiting) {
      if (waiting.deliveryId === deliveryId) this.#waiting.delete(frameId);
    }
  }
}
