import type {
  DeliveryUpdate_State,
  OpenSessionResponse,
  Payload,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { Background } from '../../lib/background.ts';
import type { Clock } from '../../lib/clock.ts';
import { type TimingWheel, type WheelTask, wheelLink } from '../../lib/timing-wheel.ts';
import { type SelfWatch, silenceMs } from '../agent/observer.ts';
import type { Session } from '../agent/session.ts';
import { deliveryFrame, revokeFrame } from './delivery-frames.ts';
import {
  acceptWithinMs,
  countsInFlight,
  type HandedOut,
  isTakenOn,
  nextStep,
  nextTry,
  type Step,
} from './delivery-rules.ts';
import type { KnownDelivery, Mailboxes } from './mailboxes.ts';

/** The way down to an agent, as deliveries need it. */
export interface DeliveryLine {
  /** Whether a delivery may be sent now: the client reads, and nothing waits before it. */
  hasRoom(): boolean;
  send(frame: OpenSessionResponse): void;
}

/** How an attempt ended. */
interface Ended {
  attempt: bigint;
  /** What the agent said of it; undefined: nothing, it was taken back. */
  said: DeliveryUpdate_State | undefined;
  epoch: bigint;
  created: bigint | undefined;
}

export interface DeliveryPumpOptions {
  session: Session;
  line: DeliveryLine;
  /** As in hello, at least 1. */
  maxInFlight: number;
  /** Attempts that the agent brought along, by delivery id. */
  held: ReadonlyMap<string, bigint>;
  mailboxes: Mailboxes;
  background: Background;
  clock: Clock;
  wheel: TimingWheel;
  self: SelfWatch;
  /** The store's clock as this replica reckons it, milliseconds. */
  storeMs(): number;
  /** The payload that a delivery refers to; undefined: it is gone. May reject: the store is away. */
  payload(known: KnownDelivery): Promise<Payload | undefined>;
  /** Why a delivery is in the mailbox no more; undefined: nobody knows. */
  whyGone(id: string): string | undefined;
  /** Stores what a step asks for; resolves with the pause before the pump looks again, milliseconds. Never rejects. */
  store(session: Session, known: KnownDelivery, step: 'claim' | 'adopt' | 'give_up'): Promise<number>;
}

/** What came of storing something about an attempt. */
export type Stored =
  /** Taken on. */
  | 'accepted'
  /** It ended, and another one follows. */
  | 'again'
  /** The delivery ended. */
  | 'over'
  /** Nothing was stored, or nothing that the agent said. */
  | 'unchanged';

/** The longest time until a pump looks again for what has no news of its own (a store that was away). */
const LOOK_AGAIN_MS = 5000;
/** Ended deliveries that a session remembers. */
const MAX_REMEMBERED = 256;

/**
 * Hands one session the deliveries of its agent: in order, within the agent's window, one unacknowledged of each ordering
 * key, and again when they are not answered in time. It decides from the mailbox each time anew, so whatever changes
 * there (by whomever) is enough to wake it.
 */
export class DeliveryPump implements WheelTask {
  readonly wheel = wheelLink();
  readonly #options: DeliveryPumpOptions;
  readonly #handedOut = new Map<string, HandedOut & { sentMs: number; created: bigint | undefined }>();
  /**
   * Attempts that ended in this session, or were revoked, the newest of them, each with the store epoch of its end: a
   * mailbox that still shows one, or an earlier one, lags behind, or its store fell back to before the end.
   */
  readonly #ended = new Map<string, Ended>();
  /** What this replica has under way with the store about deliveries, how much of it for each. */
  readonly #busy = new Map<string, number>();
  /** Deliveries on their way to the agent: being claimed, or their payload is being read. They have a place in its window. */
  readonly #coming = new Set<string>();
  #planned = false;
  #closed = false;

  constructor(options: DeliveryPumpOptions) {
    this.#options = options;
    for (const [id, attempt] of options.held)
      this.#handedOut.set(id, { attempt, dueMs: undefined, sentMs: 0, created: this.#created(id) });
  }

  /** Looks at the mailbox soon; however often it is called in one turn of the event loop, once. */
  wake(): void {
    if (this.#planned || this.#closed) return;
    this.#planned = true;
    queueMicrotask(() => {
      this.#planned = false;
      this.#run();
    });
  }

  due(): void {
    this.wake();
  }

  end(): void {
    this.#closed = true;
    this.#options.wheel.cancel(this);
  }

  /** Of what the mailbox shows: in a higher one its store may have fallen back. */
  get #epoch(): bigint {
    return this.#options.mailboxes.epoch(this.#options.session.namespace);
  }

  get session(): Session {
    return this.#options.session;
  }

  /** Something about this attempt is being stored: its delivery is left alone until the returned function is called. */
  hold(id: string, attempt: bigint, said?: DeliveryUpdate_State): (result: Stored) => void {
    this.#busy.set(id, (this.#busy.get(id) ?? 0) + 1);
    const epoch = this.#epoch;
    const created = this.#created(id) ?? this.#handedOut.get(id)?.created;
    return (result) => {
      const more = (this.#busy.get(id) ?? 1) - 1;
      if (more === 0) this.#busy.delete(id);
      else this.#busy.set(id, more);
      const handedOut = this.#handedOut.get(id);
      if (result === 'over' || result === 'again') this.#remember(id, { attempt, said, epoch, created });
      else if (result === 'accepted' && handedOut !== undefined) handedOut.dueMs = undefined;
      this.wake();
    };
  }

  /** The same id at another place is another delivery. */
  #created(id: string): bigint | undefined {
    return this.#find(id)?.createdRevision;
  }

  #remember(id: string, end: Ended): void {
    this.#handedOut.delete(id);
    this.#ended.delete(id);
    this.#ended.set(id, end);
    const oldest = this.#ended.size > MAX_REMEMBERED ? this.#ended.keys().next().value : undefined;
    if (oldest !== undefined) this.#ended.delete(oldest);
  }

  /** Whether the agent said just this in this session, it is stored, and the delivery has ended. */
  isOver(id: string, attempt: bigint, said: DeliveryUpdate_State): boolean {
    const ended = this.#ended.get(id);
    return ended?.attempt === attempt && ended.said === said && this.#find(id) === undefined;
  }

  /** Deliveries handed out in this session and not answered yet, for explanations. */
  isWithAgent(id: string, attempt: bigint): boolean {
    return this.#handedOut.get(id)?.attempt === attempt;
  }

  /** When a delivery was handed out in this session, monotonic milliseconds; undefined: it was not. */
  sentMs(id: string): number | undefined {
    return this.#handedOut.get(id)?.sentMs || undefined;
  }

  #run(): void {
    if (this.#closed) return;
    const { mailboxes, session, clock, wheel, held } = this.#options;
    const nowMs = clock.monoMs();
    const { namespace, agentId } = session;
    const deliveries = mailboxes.of(namespace, agentId);
    this.#revokeGone();
    let nextMs = deliveries.length === 0 ? Number.POSITIVE_INFINITY : nowMs + LOOK_AGAIN_MS;
    const blocked = new Set<string>();
    let free = this.#options.maxInFlight - this.#inFlight();
    // Those that are looked at whether or not there is room: what was handed out, and commands.
    let handedOut = this.#handedOut.size;
    let commands = mailboxes.commands(namespace, agentId);
    for (const known of deliveries) {
      if (free <= 0 && handedOut <= 0 && commands <= 0) break;
      if (this.#handedOut.has(known.id)) handedOut -= 1;
      if (known.record.item.case === 'command') commands -= 1;
      const { orderingKey } = known.record;
      const step: Step =
        blocked.has(orderingKey) || this.#busy.has(known.id) ? WAIT : this.#stepOf(known, nowMs);
      // Also one that an earlier session took on and that has to be delivered again comes before later ones.
      if (orderingKey !== '' && !isTakenOn(known, session.epoch, held.get(known.id)))
        blocked.add(orderingKey);
      if (step.kind === 'later') nextMs = Math.min(nextMs, nowMs + step.storeMs - this.#options.storeMs());
      const dueMs = this.#dueMs(known);
      if (dueMs !== undefined && dueMs > nowMs) nextMs = Math.min(nextMs, dueMs);
      if (step.kind === 'wait' || step.kind === 'later') continue;
      const takesRoom = countsInFlight(known) && !this.#handedOut.has(known.id);
      if (step.kind === 'claim' || step.kind === 'send') {
        if ((takesRoom && free <= 0) || !this.#options.line.hasRoom()) continue;
        if (takesRoom) free -= 1;
      }
      if (step.kind === 'send') nextMs = Math.min(nextMs, this.#send(known, nowMs));
      else this.#store(known, step.kind);
    }
    if (nextMs < Number.POSITIVE_INFINITY) wheel.schedule(this, nextMs);
    else wheel.cancel(this);
  }

  #stepOf(known: KnownDelivery, nowMs: number): Step {
    const ended = this.#ended.get(known.id);
    const { attempt, notBefore } = known.record;
    const isOver = attempt !== 0n && ended?.created === known.createdRevision && attempt <= ended.attempt;
    if (isOver && notBefore === undefined) {
      return ended.epoch === this.#epoch ? WAIT : nextTry(known.record);
    }
    const handedOut = this.#handedOut.get(known.id);
    return nextStep({
      known,
      sessionEpoch: this.#options.session.epoch,
      handedOut: handedOut && { attempt: handedOut.attempt, dueMs: this.#dueMs(known) },
      held: isOver ? undefined : this.#options.held.get(known.id),
      nowMs,
      storeMs: this.#options.storeMs(),
    });
  }

  /** When an answer is due; time in which this replica stood still does not count. */
  #dueMs(known: KnownDelivery): number | undefined {
    const handedOut = this.#handedOut.get(known.id);
    if (handedOut?.dueMs === undefined || known.record.accepted) return undefined;
    const nowMs = this.#options.clock.monoMs();
    const stalledMs = nowMs - handedOut.sentMs - silenceMs(this.#options.self, handedOut.sentMs, nowMs);
    return handedOut.dueMs + stalledMs;
  }

  #inFlight(): number {
    let count = 0;
    for (const [id, { dueMs }] of this.#handedOut) {
      const known = dueMs === undefined ? undefined : this.#find(id);
      if (known !== undefined && !known.record.accepted && countsInFlight(known)) count += 1;
    }
    for (const id of this.#coming) {
      const known = this.#handedOut.has(id) ? undefined : this.#find(id);
      if (known !== undefined && countsInFlight(known)) count += 1;
    }
    return count;
  }

  #find(id: string): KnownDelivery | undefined {
    const { mailboxes, session } = this.#options;
    return mailboxes.get(session.namespace, session.agentId, id);
  }

  #send(known: KnownDelivery, nowMs: number): number {
    const { record } = known;
    const dueMs = nowMs + acceptWithinMs(record);
    if (record.payloadKey !== '') {
      this.#fetch(known);
      return dueMs;
    }
    const created = known.createdRevision;
    this.#handedOut.set(known.id, { attempt: record.attempt, dueMs, sentMs: nowMs, created });
    this.#options.line.send(deliveryFrame(record, this.#options.storeMs()));
    return dueMs;
  }

  /** Like `hold`, for what is on its way to the agent. */
  #come({ id, record }: KnownDelivery): (result: Stored) => void {
    const release = this.hold(id, record.attempt);
    this.#coming.add(id);
    return (result) => {
      this.#coming.delete(id);
      release(result);
    };
  }

  /** Sends a delivery whose payload is kept apart, once it is here. */
  #fetch(known: KnownDelivery): void {
    const { record } = known;
    const release = this.#come(known);
    this.#options.background.run('read a payload', async () => {
      let payload: Payload | undefined;
      try {
        payload = await this.#options.payload(known);
      } catch {
        // Others may pass it during the pause.
        this.#coming.delete(known.id);
        after(FETCH_PAUSE_MS, () => release('unchanged'));
        return;
      }
      if (this.#closed) return;
      // The client stopped reading meanwhile, or others filled its stream: it is looked at again when there is room.
      if (payload !== undefined && !this.#options.line.hasRoom()) {
        release('unchanged');
        return;
      }
      const sentMs = this.#options.clock.monoMs();
      // Without its payload it could only be misunderstood: unanswered, it is tried again and given up.
      this.#handedOut.set(known.id, {
        attempt: record.attempt,
        dueMs: sentMs + acceptWithinMs(record),
        sentMs,
        created: known.createdRevision,
      });
      if (payload !== undefined) {
        this.#options.line.send(deliveryFrame(record, this.#options.storeMs(), payload));
      }
      release('unchanged');
    });
  }

  #store(known: KnownDelivery, step: 'claim' | 'adopt' | 'give_up'): void {
    const { background, session, store } = this.#options;
    const release = step === 'claim' ? this.#come(known) : this.hold(known.id, known.record.attempt);
    background.run('hand out a delivery', async () => {
      const pauseMs = await store(session, known, step);
      after(pauseMs, () => release('unchanged'));
    });
  }

  /** What is with the agent and no longer in its mailbox was cancelled, or the store lost it. */
  #revokeGone(): void {
    for (const [id, { attempt, created }] of this.#handedOut) {
      if (this.#busy.has(id) || this.#find(id) !== undefined) continue;
      this.#remember(id, { attempt, said: undefined, epoch: this.#epoch, created });
      const why = this.#options.whyGone(id) ?? 'it was cancelled, expired or given up';
      this.#options.line.send(revokeFrame(id, attempt, why));
    }
  }
}

/** Pauses are no work under way: whoever closes does not wait for them. */
function after(pauseMs: number, then: () => void): void {
  if (pauseMs === 0) then();
  else setTimeout(then, pauseMs);
}

const WAIT: Step = { kind: 'wait' };
/** Pause after a payload could not be read. */
const FETCH_PAUSE_MS = 1000;
