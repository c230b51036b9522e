import type { MessageInitShape } from '@bufbuild/protobuf';
import type { SendMessageSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { AgentRecords } from './agent-records.ts';
import { firstOutOfOrder } from './message-order.ts';

/** Reasons that say that nothing was done, and that it may be tried again. */
export const REFUSALS: ReadonlySet<string> = new Set([
  ...['CONTENTION', 'SESSION_SUPERSEDED', 'EPOCH_STALE', 'STORE_UNAVAILABLE', 'SHUTTING_DOWN'],
  ...['MAILBOX_FULL', 'RECEIVER_GONE'],
]);

/** A message, and who may receive it. */
export interface Outgoing {
  id: string;
  source: string;
  request: MessageInitShape<typeof SendMessageSchema>;
  content: string;
  /** The ordering key in effect. */
  key: string;
  /** Agents that may receive it. */
  group: ReadonlySet<string>;
  /** Each of them has to; else one. */
  everyone: boolean;
  /** It is given up after a short time. */
  expires: boolean;
  /** Somebody waits for the answer; "again": it may be given to one agent after the other. */
  call?: 'once' | 'again';
}

/** What is known of the sending of a message. Moments are places in the order in which this process saw things. */
export interface Sent extends Outgoing {
  firstTry: number;
  tries: number;
  /** Tries of which the service said that it did nothing. */
  refusals: number;
  acknowledged: number | undefined;
  /** The session on which it was tried first, with its place there; '' for calls. */
  line: string;
  place: number;
  revision: bigint | undefined;
  /** As the answer named them; empty: it did not. */
  chosen: string;
  deliveryId: string;
  /** By receiver: when it came first, on the session that was the receiver's own. */
  readonly arrivals: Map<string, number>;
  /** Ids of its deliveries, by receiver. */
  readonly deliveries: Map<string, Set<string>>;
}

export interface Arrival {
  receiver: string;
  messageId: string;
  source: string;
  content: string;
  deliveryId: string;
  attempt: bigint;
  /** It came on the session that the receiver goes by. */
  current: boolean;
}

/** What an answer to a send says. */
export interface Stored {
  receivers: number;
  agentId: string;
  deliveryId: string;
  revision: bigint;
}

export interface DeadMessage {
  agentId: string;
  deliveryId: string;
  messageId: string;
  reason: string;
}

export interface Aftermath {
  /** What agents keep of their deliveries, by agent. */
  records: ReadonlyMap<string, AgentRecords>;
  dead: readonly DeadMessage[];
  /** Agents whose messages were given to others since the last check: what comes back to them comes later. */
  movedFrom: ReadonlySet<string>;
}

/** Everything that was sent and that came, with what of it must not be. */
export class MessageBook {
  readonly faults: string[] = [];
  readonly #sent = new Map<string, Sent>();
  /** First tried since the last check. */
  #fresh: Sent[] = [];
  /** The message behind a delivery. */
  readonly #behind = new Map<string, string>();
  readonly #attempts = new Set<string>();
  readonly #fallsBack: boolean;
  #dead = 0;
  #now = 0;

  /** @param options.fallsBack the store may lose what it has not acknowledged, of which receivers know already */
  constructor(options: { fallsBack?: boolean } = {}) {
    this.#fallsBack = options.fallsBack ?? false;
  }

  /** For people. */
  figures(): Record<string, number> {
    const all = [...this.#sent.values()];
    return {
      sent: all.length,
      acknowledged: all.filter(({ acknowledged }) => acknowledged !== undefined).length,
      repeated: all.filter(({ tries }) => tries > 1).length,
      dead: this.#dead,
    };
  }

  of(id: string): Sent | undefined {
    return this.#sent.get(id);
  }

  /** @param line the session that it is sent on, one after the other */
  tried(outgoing: Outgoing, line = ''): void {
    this.#now += 1;
    const known = this.#sent.get(outgoing.id);
    if (known !== undefined) {
      known.tries += 1;
      return;
    }
    const sent: Sent = {
      ...outgoing,
      ...{ firstTry: this.#now, tries: 1, refusals: 0, acknowledged: undefined, line, place: this.#now },
      ...{ revision: undefined, chosen: '', deliveryId: '', arrivals: new Map(), deliveries: new Map() },
    };
    this.#sent.set(outgoing.id, sent);
    this.#fresh.push(sent);
  }

  refused(id: string): void {
    const sent = this.#sent.get(id);
    if (sent !== undefined) sent.refusals += 1;
  }

  /** @param stored as the answer says it; undefined: it only says that it is */
  acknowledged(id: string, stored?: Stored): void {
    const sent = this.#sent.get(id);
    if (sent === undefined) return;
    this.#now += 1;
    sent.acknowledged ??= this.#now;
    if (stored === undefined) return;
    const { receivers, agentId, deliveryId, revision } = stored;
    const expected = sent.everyone ? sent.group.size : 1;
    if (receivers !== expected) this.faults.push(`${id} has ${receivers} receivers, not ${expected}`);
    if (sent.deliveryId !== '' && sent.deliveryId !== deliveryId) {
      this.faults.push(`${id} was answered with ${sent.deliveryId} and with ${deliveryId}`);
    }
    if (!sent.everyone && !sent.group.has(agentId)) this.faults.push(`${id} was given to ${agentId}`);
    Object.assign(sent, { chosen: agentId, deliveryId, revision });
  }

  arrived({ receiver, messageId, source, content, deliveryId, attempt, current }: Arrival): void {
    this.#now += 1;
    const sent = this.#sent.get(messageId);
    const what = `${receiver} got ${messageId} as ${deliveryId}`;
    if (sent === undefined) {
      this.faults.push(`${what}, which nobody sent`);
      return;
    }
    if (!sent.group.has(receiver)) this.faults.push(`${what}, which was not for it`);
    if (sent.content !== content) {
      this.faults.push(`${what} with "${content.slice(0, 60)}", not "${sent.content.slice(0, 60)}"`);
    }
    if (sent.source !== source) this.faults.push(`${what} from ${source}, not ${sent.source}`);
    const other = this.#behind.get(deliveryId);
    if (other !== undefined && other !== messageId) this.faults.push(`${what}, which was ${other}`);
    this.#behind.set(deliveryId, messageId);
    const ids = sent.deliveries.get(receiver) ?? new Set();
    sent.deliveries.set(receiver, ids.add(deliveryId));
    // One agent's own repetitions are looked at by its records.
    const known = `${deliveryId} ${attempt}`;
    const isElsewhere = this.#attempts.has(known) && !this.#attempts.has(`${known} ${receiver}`);
    if (isElsewhere) this.faults.push(`${what}, an attempt ${attempt} that another agent got too`);
    this.#attempts.add(known).add(`${known} ${receiver}`);
    if (current && !sent.arrivals.has(receiver)) sent.arrivals.set(receiver, this.#now);
  }

  /** What must not be now that all is calm; of what was sent since the last time. */
  wrong(aftermath: Aftermath): string[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    this.#dead = aftermath.dead.length;
    const dead = new Map<string, DeadMessage[]>();
    for (const letter of aftermath.dead) {
      dead.set(letter.messageId, [...(dead.get(letter.messageId) ?? []), letter]);
    }
    return [
      ...fresh.flatMap((sent) => this.#fate(sent, dead.get(sent.id) ?? [], aftermath.records)),
      ...firstOutOfOrder(
        fresh.filter((sent) => !this.#mayBeLost(sent)),
        aftermath.movedFrom,
      ),
    ];
  }

  /** What is sent again comes again: later, and for a capability to another agent perhaps. */
  #mayBeLost({ tries }: Sent): boolean {
    return this.#fallsBack && tries > 1;
  }

  #fate(sent: Sent, dead: readonly DeadMessage[], records: Aftermath['records']): string[] {
    const wrong: string[] = [];
    const told = `${sent.id} to ${sent.request.to?.value} (acknowledged: ${sent.acknowledged !== undefined})`;
    const all = new Set<string>();
    const namesOf = (ids: ReadonlySet<string>) =>
      this.#mayBeLost(sent) ? new Set([...ids].map(nameOf)) : ids;
    for (const [receiver, ids] of sent.deliveries) {
      for (const id of ids) all.add(id);
      if (namesOf(ids).size > 1 && sent.call !== 'again') {
        wrong.push(`${told} came to ${receiver} as ${[...ids].join(' and ')}`);
      }
    }
    if (!sent.everyone && sent.call !== 'again' && namesOf(all).size > 1) {
      wrong.push(`${told} had the deliveries ${[...all].join(' and ')}`);
    }
    if (sent.deliveryId !== '' && all.size > 0 && !all.has(sent.deliveryId)) {
      wrong.push(`${told} was answered with ${sent.deliveryId}, and came as ${[...all].join()}`);
    }
    if (sent.call === undefined && sent.tries === sent.refusals && sent.acknowledged === undefined) {
      if (all.size + dead.length > 0) wrong.push(`${told} was refused each time, and came nevertheless`);
    }
    const outcomeOf = (receiver: string): boolean => {
      const ids = [...(sent.deliveries.get(receiver) ?? [])];
      const books = ids.flatMap((id) => records.get(receiver)?.deliveries.get(id) ?? []);
      const letters = dead.filter(({ agentId }) => agentId === receiver);
      for (const { reason, deliveryId } of letters) {
        const book = records.get(receiver)?.deliveries.get(deliveryId);
        const explained =
          reason === 'expired'
            ? sent.expires || sent.call !== undefined
            : reason === 'declined' && (book?.declined.size ?? 0) > 0;
        if (!explained) wrong.push(`${told} is a dead letter of ${receiver}: "${reason}", for no reason`);
        if ((book?.stored.size ?? 0) > 0) wrong.push(`${told} was done by ${receiver}, and is a dead letter`);
      }
      return letters.length > 0 || books.some(({ said }) => said.size > 0);
    };
    const over = [...sent.group].filter(outcomeOf);
    if (sent.acknowledged === undefined || sent.call !== undefined) return wrong;
    if (sent.everyone && over.length < sent.group.size) {
      const missing = [...sent.group].filter((id) => !over.includes(id));
      wrong.push(`${told} has no end at ${missing.join()}`);
    }
    if (!sent.everyone && over.length === 0) wrong.push(`${told} has no end; chosen was ${sent.chosen}`);
    return wrong;
  }
}

/**
 * The part of a delivery's id that is the same for all receivers of its message, and for whenever it is stored: without the
 * five minutes in which that was.
 */
const nameOf = (deliveryId: string): string =>
  deliveryId.slice(0, deliveryId.lastIndexOf('-')).replace(/^(msg1?-)\d+\./, '$1');
