import type { Client as GrpcClient } from '@grpc/grpc-js';
import type { Work } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type Delivery,
  type Result,
  type Revoke,
  DeliveryUpdate_State as State,
  type Welcome,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { msFromDuration } from '../../../src/lib/proto-time.ts';
import { AgentRecords } from './agent-records.ts';
import { FaultSession, type SessionListener } from './fault-session.ts';
import type { Random } from './random.ts';

export interface FaultAgentOptions {
  id: string;
  token: string;
  /** A channel to each replica. */
  doors: readonly GrpcClient[];
  random: Random;
  /** Silence after which it looks elsewhere, milliseconds: its lease. */
  patienceMs: number;
}

/** A delivery that this process works on, or has finished without knowing that this is stored. */
interface Job {
  work: Work;
  finished: boolean;
  timer: NodeJS.Timeout | undefined;
}

interface Waiting {
  deliveryId: string;
  attempt: bigint;
  state: State;
}

/** What a try to attach waits before the next one, milliseconds. */
const BACKOFF = { firstMs: 50, mostMs: 800 };
/** The window that it asks for. */
const MAX_IN_FLIGHT = 4;

/**
 * An agent that always comes back, to any replica, and keeps book of everything it was told. It carries an order out
 * once, holds what it has not finished over its sessions, and repeats what was not answered.
 */
export class FaultAgent implements SessionListener {
  readonly records: AgentRecords;
  readonly #options: FaultAgentOptions;
  readonly #jobs = new Map<string, Job>();
  /** Updates without an answer, by frame id, in their order. */
  readonly #waiting = new Map<string, Waiting>();
  #current: FaultSession | undefined;
  /** Takes the place of the current one once it is welcomed. */
  #twin: FaultSession | undefined;
  /** Sessions that another one took the place of, still open as far as this process knows. */
  readonly #old = new Set<FaultSession>();
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #frames = 0;
  #closed = false;

  constructor(options: FaultAgentOptions) {
    this.#options = options;
    this.records = new AgentRecords(options.id);
  }

  get id(): string {
    return this.#options.id;
  }

  /** Of its open session; 0: it has none. */
  get epoch(): bigint {
    return this.#current?.open ? this.#current.epoch : 0n;
  }

  get replicaId(): string {
    return this.#current?.replicaId ?? '';
  }

  get busy(): boolean {
    return this.#jobs.size > 0 || this.#waiting.size > 0;
  }

  /** Whether it has something to lose. */
  get working(): boolean {
    return [...this.#jobs.values()].some(({ finished }) => !finished);
  }

  start(): void {
    this.#current = this.#open();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#forget();
    for (const session of [this.#current, this.#twin, ...this.#old]) session?.break('closed');
  }

  /**
   * It forgets what it worked on and had to say, as after a crash. It goes by the same name: another process would be
   * taken for the restart that was ordered.
   */
  crash(): void {
    this.#forget();
    for (const session of [this.#twin, ...this.#old]) session?.break('crashed');
    this.#current?.break('crashed');
  }

  /** Attaches again although its session is open, as a process does that takes its link for dead. */
  attachAgain(): void {
    if (this.#twin === undefined && this.#current?.open && !this.#closed) this.#twin = this.#open();
  }

  welcomed(session: FaultSession, { epoch, revoked, replicaId }: Welcome): void {
    this.#failures = 0;
    this.records.welcomed(epoch, replicaId);
    if (session === this.#twin) {
      const old = this.#current;
      this.#twin = undefined;
      this.#current = session;
      if (old !== undefined && !old.over) {
        this.#old.add(old);
        this.#probe(old);
      }
    }
    for (const work of revoked) {
      this.records.revoked(work);
      this.#drop(work, false);
    }
    for (const [frameId, waiting] of this.#waiting) this.#send(frameId, waiting);
  }

  delivered(session: FaultSession, delivery: Delivery): void {
    const { work } = delivery;
    if (work === undefined) return;
    this.records.delivered(work, session.epoch, reasonOf(delivery));
    if (session !== this.#current) return;
    const { random } = this.#options;
    const known = this.#jobs.get(work.deliveryId);
    if (known !== undefined) {
      // An order is carried out once, however often it comes: the new attempt is answered.
      this.#unsay(work.deliveryId);
      known.work = work;
      this.#say(work, known.finished ? State.SUCCEEDED : State.ACCEPTED);
      return;
    }
    // Not noticed: it comes again.
    if (random.chance(0.03)) return;
    if (random.chance(0.02) && this.records.attemptsOf(work.deliveryId) === 1) {
      this.#say(work, State.DECLINED);
      return;
    }
    const job: Job = { work, finished: false, timer: undefined };
    this.#jobs.set(work.deliveryId, job);
    if (random.chance(0.85)) this.#say(work, State.ACCEPTED);
    const takesMs = random.chance(0.3) ? random.between(300, 1500) : random.between(0, 100);
    job.timer = setTimeout(() => {
      job.finished = true;
      this.#say(job.work, State.SUCCEEDED);
    }, takesMs);
  }

  revoked(session: FaultSession, { work }: Revoke): void {
    if (work === undefined) return;
    this.records.revoked(work);
    // What is finished is said again until that is answered.
    if (session === this.#current) this.#drop(work, false);
  }

  answered(session: FaultSession, result: Result): void {
    if (result.frameId.startsWith('probe')) {
      if (result.code === 0) this.records.fault(`its superseded session ${session.epoch} was obeyed`);
      return;
    }
    const waiting = this.#waiting.get(result.frameId);
    // What an old session refuses, the present one is asked again; the service may know sooner that it is an old one.
    const isOld = session !== this.#current || result.reason === 'SESSION_SUPERSEDED';
    if (waiting === undefined || (result.code !== 0 && isOld)) return;
    if (result.retryAfter !== undefined && result.code !== 0) {
      const again = () => this.#send(result.frameId, waiting);
      setTimeout(again, msFromDuration(result.retryAfter)).unref();
      return;
    }
    this.#waiting.delete(result.frameId);
    this.records.answered(waiting, result);
    const job = this.#jobs.get(waiting.deliveryId);
    if (job === undefined || job.work.attempt !== waiting.attempt) return;
    const isOver = waiting.state === State.SUCCEEDED || result.code !== 0;
    if (isOver) this.#drop(job.work, true);
  }

  over(session: FaultSession): void {
    this.#old.delete(session);
    this.records.ended(session.epoch, session.ending);
    if (session === this.#twin) this.#twin = undefined;
    if (session !== this.#current || this.#closed) return;
    if (this.#twin !== undefined) {
      this.#current = this.#twin;
      this.#twin = undefined;
      return;
    }
    const ceilingMs = Math.min(BACKOFF.mostMs, BACKOFF.firstMs * 2 ** this.#failures);
    this.#failures += 1;
    const waitMs = ceilingMs * (0.5 + this.#options.random.next() / 2);
    this.#timer = setTimeout(() => {
      this.#current = this.#open();
    }, waitMs);
  }

  #open(): FaultSession {
    const { doors, token, patienceMs, random, id } = this.#options;
    const held = [...this.#jobs.values()].map(({ work }) => work);
    return new FaultSession({
      channel: random.pick(doors),
      token,
      patienceMs,
      listener: this,
      hello: { held, maxInFlight: MAX_IN_FLIGHT, instanceId: id, client: 'faults/1' },
    });
  }

  /** Says on a superseded session that something is done: it must not be believed. */
  #probe(old: FaultSession): void {
    const job = [...this.#jobs.values()].find(({ finished }) => !finished);
    if (job === undefined) return;
    this.records.probes += 1;
    this.#frames += 1;
    const value = { work: job.work, state: State.SUCCEEDED };
    old.send({ frameId: `probe-${this.#frames}`, frame: { case: 'deliveryUpdate', value } });
  }

  #say({ deliveryId, attempt }: Work, state: State): void {
    this.#frames += 1;
    const waiting: Waiting = { deliveryId, attempt, state };
    const frameId = `${this.#frames}`;
    this.#waiting.set(frameId, waiting);
    this.#send(frameId, waiting);
  }

  #send(frameId: string, waiting: Waiting): void {
    if (!this.#current?.open || this.#waiting.get(frameId) !== waiting) return;
    const { deliveryId, attempt, state } = waiting;
    this.records.said(waiting);
    const retryable = state === State.DECLINED;
    const value = { work: { deliveryId, attempt }, state, retryable, error: retryable ? 'not now' : '' };
    this.#current.send({ frameId, frame: { case: 'deliveryUpdate', value } });
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

  #forget(): void {
    for (const { timer } of this.#jobs.values()) clearTimeout(timer);
    this.#jobs.clear();
    this.#waiting.clear();
  }
}

/** What an order gave as its reason: the request that caused it. */
function reasonOf({ item }: Delivery): string {
  if (item.case !== 'command') return '';
  const data = item.value.arguments?.data;
  if (data?.case !== 'json' || data.value.kind.case !== 'structValue') return '';
  const kind = data.value.kind.value.fields.reason?.kind;
  return kind?.case === 'stringValue' ? kind.value : '';
}
