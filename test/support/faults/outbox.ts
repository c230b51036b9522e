import type { Result, SendMessage } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { msFromDuration } from '../../../src/lib/proto-time.ts';
import type { FaultSession } from './fault-session.ts';
import { type MessageBook, type Outgoing, REFUSALS } from './message-book.ts';

export interface OutboxOptions {
  book: MessageBook;
  /** The session that it sends on; undefined: there is none that is open. */
  session(): FaultSession | undefined;
}

const PREFIX = 'send-';

/** Messages that an agent sends on its sessions, each until it is acknowledged. */
export class Outbox {
  readonly #options: OutboxOptions;
  /** By frame id, in their order. */
  readonly #waiting = new Map<string, Outgoing>();
  #count = 0;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.size;
  }

  post(outgoing: Outgoing): void {
    this.#count += 1;
    const frameId = `${PREFIX}${this.#count}`;
    this.#waiting.set(frameId, outgoing);
    this.#send(frameId, outgoing);
  }

  /** Says everything again: a new session has begun. */
  again(): void {
    for (const [frameId, outgoing] of this.#waiting) this.#send(frameId, outgoing);
  }

  /** What was sent may be stored or not. */
  forget(): void {
    this.#waiting.clear();
  }

  /** @returns whether it was the answer to one of these */
  answered(session: FaultSession, { frameId, code, reason, detail, retryAfter }: Result): boolean {
    if (!frameId.startsWith(PREFIX)) return false;
    const outgoing = this.#waiting.get(frameId);
    if (outgoing === undefined) return true;
    const { book } = this.#options;
    if (code === 0) {
      this.#waiting.delete(frameId);
      book.acknowledged(outgoing.id);
      return true;
    }
    if (REFUSALS.has(reason)) book.refused(outgoing.id);
    if (retryAfter !== undefined) {
      setTimeout(() => this.#send(frameId, outgoing), msFromDuration(retryAfter)).unref();
    } else if (reason !== 'SESSION_SUPERSEDED' && reason !== 'EPOCH_STALE') {
      book.faults.push(`${outgoing.id} was refused on session ${session.epoch}: ${reason} ${detail}`);
      this.#waiting.delete(frameId);
    }
    return true;
  }

  #send(frameId: string, outgoing: Outgoing): void {
    const session = this.#options.session();
    if (session === undefined || this.#waiting.get(frameId) !== outgoing) return;
    this.#options.book.tried(outgoing, `${session.replicaId} ${outgoing.source} ${session.epoch}`);
    session.send({ frameId, frame: { case: 'send', value: outgoing.request as SendMessage } });
  }
}
