import type { Client as GrpcClient } from '@grpc/grpc-js';
import type {
  Delivery,
  Result,
  Revoke,
  Welcome,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { FaultSession, type SessionListener } from '../faults/fault-session.ts';
import type { Random } from '../faults/random.ts';
import type { TaskBook } from './task-book.ts';
import { TaskDesk } from './task-desk.ts';

export interface TaskAgentOptions {
  id: string;
  token: string;
  /** A channel to each replica. */
  doors: readonly GrpcClient[];
  random: Random;
  /** Silence after which it looks elsewhere, milliseconds: its lease. */
  patienceMs: number;
  book: TaskBook;
}

/** What a try to attach waits before the next one, milliseconds. */
const BACKOFF = { firstMs: 50, mostMs: 500 };
const MAX_IN_FLIGHT = 8;

/** An agent that takes tasks, always comes back, to any replica, and holds what it has not finished over its sessions. */
export class TaskAgent implements SessionListener {
  readonly desk: TaskDesk;
  readonly #options: TaskAgentOptions;
  #current: FaultSession | undefined;
  #timer: NodeJS.Timeout | undefined;
  #thawing: NodeJS.Timeout | undefined;
  #failures = 0;
  /** Another one each time that it forgets what it did. */
  #instance = 1;
  #away = false;
  #closed = false;

  constructor(options: TaskAgentOptions) {
    this.#options = options;
    const { id: agentId, random, book } = options;
    this.desk = new TaskDesk({ agentId, random, book, current: () => this.#current });
  }

  get id(): string {
    return this.#options.id;
  }

  get attached(): boolean {
    return this.#current?.open === true;
  }

  /** For people: what it has not finished. */
  get told(): string {
    return `${this.id} ${this.attached ? 'attached' : 'away'} ${this.desk.told}, last ${this.#current?.ending}`;
  }

  start(): void {
    this.#current = this.#open();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#thawing);
    this.desk.forget();
    this.#current?.break('closed');
  }

  /** Its process dies and is started again. */
  crash(): void {
    this.desk.forget();
    this.#instance += 1;
    this.#current?.break('crashed');
  }

  /** It stands still as a process that is paused: nothing is read, nothing said. Its work goes on. */
  freeze(ms: number): void {
    this.#current?.freeze();
    clearTimeout(this.#thawing);
    this.#thawing = setTimeout(() => this.#current?.thaw(), ms);
  }

  /** It loses its connection and goes on working; it comes back, with its work, after this time. */
  vanish(ms: number): void {
    if (this.#away || this.#closed) return;
    this.#away = true;
    clearTimeout(this.#timer);
    this.#current?.break('vanished');
    this.#timer = setTimeout(() => {
      this.#away = false;
      this.#current = this.#open();
    }, ms);
  }

  welcomed(_session: FaultSession, { revoked }: Welcome): void {
    this.#failures = 0;
    for (const work of revoked) this.desk.revoked(work);
    this.desk.again();
  }

  delivered(session: FaultSession, { work, item }: Delivery): void {
    if (work === undefined || session !== this.#current) return;
    if (item.case === 'task') this.desk.take(work, item.value);
    else this.#options.book.faults.push(`${this.id} got ${item.case} ${work.deliveryId}`);
  }

  revoked(session: FaultSession, { work }: Revoke): void {
    if (work !== undefined && session === this.#current) this.desk.revoked(work);
  }

  answered(session: FaultSession, result: Result): void {
    this.desk.answered(session, result);
  }

  over(session: FaultSession): void {
    if (session !== this.#current || this.#closed || this.#away) return;
    const ceilingMs = Math.min(BACKOFF.mostMs, BACKOFF.firstMs * 2 ** this.#failures);
    this.#failures += 1;
    this.#timer = setTimeout(
      () => {
        this.#current = this.#open();
      },
      ceilingMs * (0.5 + this.#options.random.next() / 2),
    );
  }

  #open(): FaultSession {
    const { doors, token, patienceMs, random, id } = this.#options;
    return new FaultSession({
      ...{ channel: random.pick(doors), token, patienceMs, listener: this },
      hello: {
        ...{ held: this.desk.held, maxInFlight: MAX_IN_FLIGHT, instanceId: `${id}-${this.#instance}` },
        client: 'faults/1',
      },
    });
  }
}
