import type { Work } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  DeliveryUpdate_StateSchema,
  type Result,
  DeliveryUpdate_State as State,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';

interface DeliveryBook {
  /** The order's reason; undefined: it is a message. */
  reason: string | undefined;
  /** Attempts that came, in their order, with the session. */
  attempts: Map<bigint, bigint>;
  /** Attempts of which it said that they succeeded. */
  said: Set<bigint>;
  /** Attempts that it declined for good. */
  declined: Set<bigint>;
  /** Attempts of which the service answered that their success is stored. */
  stored: Set<bigint>;
  /** When it was told so first. */
  doneMs: number | undefined;
  /** All of it in its order, for people. */
  story: string[];
}

interface Said {
  deliveryId: string;
  attempt: bigint;
  state: State;
  /** Declined, and not to be tried again. */
  forGood: boolean;
}

export interface SessionBook {
  epoch: bigint;
  replicaId: string;
  ending: string;
}

/** What one agent was told, and what of that must not be: faults are noted at once, so that they keep their moment. */
export class AgentRecords {
  readonly agentId: string;
  readonly sessions: SessionBook[] = [];
  readonly deliveries = new Map<string, DeliveryBook>();
  /** Reasons with which updates were refused, and how often: for people. */
  readonly refusals = new Map<string, number>();
  readonly faults: string[] = [];
  /** How often it lied on a superseded session. */
  probes = 0;
  /** A store that may lose what it acknowledged may also hand out again what was done. */
  forgiving = false;

  constructor(agentId: string) {
    this.agentId = agentId;
  }

  fault(what: string): void {
    this.faults.push(`${this.agentId}: ${what}`);
  }

  welcomed(epoch: bigint, replicaId: string): void {
    const last = this.sessions.at(-1);
    if (last !== undefined && epoch <= last.epoch) {
      this.fault(`epoch ${epoch} from ${replicaId} came after ${last.epoch} from ${last.replicaId}`);
    }
    this.sessions.push({ epoch, replicaId, ending: '' });
  }

  ended(epoch: bigint, ending: string): void {
    const session = this.sessions.findLast((each) => each.epoch === epoch);
    if (session !== undefined) session.ending = ending;
  }

  attemptsOf(deliveryId: string): number {
    return this.deliveries.get(deliveryId)?.attempts.size ?? 0;
  }

  /** @param reason of an order; undefined: it is a message */
  delivered({ deliveryId, attempt }: Work, epoch: bigint, reason: string | undefined): void {
    const book = this.#book(deliveryId);
    book.reason = reason;
    this.#tell(book, `attempt ${attempt} in ${epoch}`);
    const earlier = book.attempts.get(attempt);
    if (earlier !== undefined) this.fault(`${deliveryId}: an attempt came twice: ${book.story.join('; ')}`);
    // What an older session still brings, late, is not looked at any more.
    const isCurrent = epoch === this.sessions.at(-1)?.epoch;
    if (isCurrent && [...book.attempts.keys()].some((other) => other > attempt)) {
      this.fault(`${deliveryId}: an attempt came after a later one: ${book.story.join('; ')}`);
    }
    if (isCurrent && book.stored.size > 0 && !this.forgiving) {
      this.fault(`${deliveryId} came after it was done: ${book.story.join('; ')}`);
    }
    book.attempts.set(attempt, epoch);
  }

  said({ deliveryId, attempt, state, forGood }: Said): void {
    const book = this.#book(deliveryId);
    this.#tell(book, `said ${wordOf(state)} of ${attempt}`);
    if (state === State.SUCCEEDED) book.said.add(attempt);
    else if (forGood) book.declined.add(attempt);
  }

  revoked({ deliveryId, attempt }: Work): void {
    this.#tell(this.#book(deliveryId), `${attempt} revoked`);
  }

  answered(update: { deliveryId: string; attempt: bigint; state: State }, { code, reason }: Result): void {
    const book = this.#book(update.deliveryId);
    this.#tell(book, `heard ${code} ${reason} to ${wordOf(update.state)} of ${update.attempt}`);
    if (code !== 0) {
      this.refusals.set(reason, (this.refusals.get(reason) ?? 0) + 1);
      return;
    }
    if (update.state !== State.SUCCEEDED) return;
    book.stored.add(update.attempt);
    book.doneMs ??= performance.now();
    if (book.stored.size > 1 && !this.forgiving) {
      this.fault(`${update.deliveryId}: ${book.stored.size} attempts were stored as done`);
    }
  }

  #tell({ story }: DeliveryBook, what: string): void {
    story.push(`${Math.round(performance.now())}: ${what}`);
  }

  #book(deliveryId: string): DeliveryBook {
    let book = this.deliveries.get(deliveryId);
    if (book === undefined) {
      const none = () => new Set<bigint>();
      const sets = { said: none(), declined: none(), stored: none() };
      book = { reason: '', attempts: new Map(), ...sets, doneMs: undefined, story: [] };
      this.deliveries.set(deliveryId, book);
    }
    return book;
  }
}

const wordOf = (state: State): string => DeliveryUpdate_StateSchema.value[state]?.localName ?? `${state}`;
