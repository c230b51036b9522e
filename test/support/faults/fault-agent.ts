import type { Client as GrpcClient } from '@grpc/grpc-js';
import type {
  Delivery,
  Result,
  Revoke,
  Welcome,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { AgentRecords } from './agent-records.ts';
import { Desk } from './desk.ts';
import { FaultSession, type SessionListener } from './fault-session.ts';
import { answerTo, messageOf, reasonOf } from './items.ts';
import type { MessageBook } from './message-book.ts';
import { Outbox } from './outbox.ts';
import type { Random } from './random.ts';

export interface FaultAgentOptions {
  id: string;
  token: string;
  /** A channel to each replica. */
  doors: readonly GrpcClient[];
  random: Random;
  /** Silence after which it looks elsewhere, milliseconds: its lease. */
  patienceMs: number;
  /** Of the messages of all agents. */
  book: MessageBook;
}

/** What a try to attach waits before the next one, milliseconds. */
const BACKOFF = { firstMs: 50, mostMs: 800 };
/** The window that it asks for. */
const MAX_IN_FLIGHT = 8;

/**
 * An agent that always comes back, to any replica, and keeps book of everything it was told. It carries an order out
 * once, holds what it has not finished over its sessions, and repeats what was not answered.
 */
export class FaultAgent implements SessionListener {
  readonly records: AgentRecords;
  readonly desk: Desk;
  readonly outbox: Outbox;
  readonly #options: FaultAgentOptions;
  #current: FaultSession | undefined;
  /** Takes the place of the current one once it is welcomed. */
  #twin: FaultSession | undefined;
  /** Sessions that another one took the place of, still open as far as this process knows. */
  readonly #old = new Set<FaultSession>();
  #timer: NodeJS.Timeout | undefined;
  #thawing: NodeJS.Timeout | undefined;
  #failures = 0;
  #last = '';
  #closed = false;

  constructor(options: FaultAgentOptions) {
    const { id, random, book } = options;
    this.#options = options;
    this.records = new AgentRecords(id);
    this.desk = new Desk({ records: this.records, random, current: () => this.#current });
    this.outbox = new Outbox({ book, session: () => (this.#current?.open ? this.#current : undefined) });
  }

  get id(): string {
    return this.#options.id;
  }

  get token(): string {
    return this.#options.token;
  }

  /** Of its open session; 0: it has none. */
  get epoch(): bigint {
    return this.#current?.open ? this.#current.epoch : 0n;
  }

  get replicaId(): string {
    return this.#current?.replicaId ?? '';
  }

  get busy(): boolean {
    return this.desk.busy || this.outbox.size > 0;
  }

  /** For people: what it has not finished. */
  get told(): string {
    const endings = this.records.sessions.slice(-3).map(({ epoch, ending }) => `${epoch}: ${ending}`);
    const tries = `${this.#failures} tries to attach, the last ended with "${this.#last}"`;
    return `${this.id} in ${this.epoch} ${this.desk.told}, sends ${this.outbox.size}; ${endings.join()}; ${tries}`;
  }

  start(): void {
    this.#current = this.#open();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#thawing);
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

  /** It stands still as a process that is paused: nothing is read, nothing said. */
  freeze(ms: number): void {
    const sessions = [this.#current, this.#twin, ...this.#old].filter((each) => each !== undefined);
    for (const session of sessions) session.freeze();
    clearTimeout(this.#thawing);
    this.#thawing = setTimeout(() => {
      for (const session of [this.#current, this.#twin, ...this.#old]) session?.thaw();
    }, ms);
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
        this.desk.probe(old);
      }
    }
    for (const work of revoked) this.desk.revoked(work);
    this.desk.again();
    this.outbox.again();
  }

  delivered(session: FaultSession, delivery: Delivery): void {
    const { work, wantsAnswer } = delivery;
    if (work === undefined) return;
    this.records.delivered(work, session.epoch, reasonOf(delivery));
    const { book } = this.#options;
    const current = session === this.#current;
    const message = messageOf(delivery);
    if (message !== undefined) {
      const { deliveryId, attempt } = work;
      book.arrived({ receiver: this.id, ...message, deliveryId, attempt, current });
    }
    if (!current) return;
    const answer = message && wantsAnswer ? answerTo(this.id, message, work) : undefined;
    const orderingKey = message === undefined ? 'orders' : (book.of(message.messageId)?.key ?? '');
    this.desk.take({ work, isMessage: message !== undefined, orderingKey, answer });
  }

  revoked(session: FaultSession, { work }: Revoke): void {
    if (work === undefined) return;
    if (session === this.#current) this.desk.revoked(work);
    else this.records.revoked(work);
  }

  answered(session: FaultSession, result: Result): void {
    if (!this.outbox.answered(session, result)) this.desk.answered(session, result);
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
    this.#last = session.ending;
    const waitMs = ceilingMs * (0.5 + this.#options.random.next() / 2);
    this.#timer = setTimeout(() => {
      this.#current = this.#open();
    }, waitMs);
  }

  #open(): FaultSession {
    const { doors, token, patienceMs, random, id } = this.#options;
    return new FaultSession({
      channel: random.pick(doors),
      token,
      patienceMs,
      listener: this,
      hello: {
        ...{ held: this.desk.held, maxInFlight: MAX_IN_FLIGHT, instanceId: id },
        ...{ features: ['messages/1'], client: 'faults/1' },
      },
    });
  }

  #forget(): void {
    this.desk.forget();
    this.outbox.forget();
  }
}
