import { create } from '@bufbuild/protobuf';
import {
  type ListMessageLinksRequest,
  type MessageLink,
  MessageLinkSchema,
  MessageTrace_Step,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Mailboxes } from '../mailboxes.ts';
import { Latency } from './latency.ts';

interface Counts {
  readonly namespace: string;
  readonly sender: string;
  readonly receiver: string;
  sent: number;
  handedOut: number;
  takenOn: number;
  done: number;
  failed: number;
  keptBack: number;
  inFlight: number;
  bytes: number;
  lastMs: number;
  /** Since it was last passed over when room was needed. */
  used: boolean;
  takeOnLatency: Latency | undefined;
  doneLatency: Latency | undefined;
  /** The minute of the Unix epoch that `inMinute` is of; `before` is of the one before. */
  minute: number;
  inMinute: number;
  before: number;
}

/** One pair of sender and receiver, as the topology needs it. */
export interface LinkFigures {
  sender: string;
  receiver: string;
  sent: number;
  failed: number;
  /** Messages a second over the last minute. */
  rate: number;
  /** From storing to the end, of those that are done. */
  doneLatency: Latency | undefined;
}

/** One step of a message, as the counts need it. */
export interface Counted {
  namespace: string;
  sender: string;
  receiver: string;
  step: MessageTrace_Step;
  /** It comes again. */
  again: boolean;
  timeMs: number;
  /** Since it was stored. */
  latencyMs: number;
  bytes: number;
  count: number;
}

const S = MessageTrace_Step;

/** Counts and latencies of each pair of sender and receiver; beyond `max` those that were not used for long are forgotten. */
export class LinkCounts {
  readonly #mailboxes: Mailboxes;
  readonly #max: number;
  readonly #links = new Map<string, Counts>();
  #forgotten = 0;

  constructor(options: { mailboxes: Mailboxes; max: number }) {
    this.#mailboxes = options.mailboxes;
    this.#max = options.max;
  }

  get forgotten(): number {
    return this.#forgotten;
  }

  /** Call it when the mailboxes show what the step left behind. */
  count(counted: Counted): void {
    const { step, count, latencyMs } = counted;
    const { counts, isNew } = this.#of(counted);
    counts.lastMs = counted.timeMs;
    switch (step) {
      case S.STORED:
      case S.REROUTED:
      case S.MOVED:
        counts.sent += 1;
        atMinute(counts, counted.timeMs);
        counts.inMinute += 1;
        counts.bytes += counted.bytes;
        if (!isNew) counts.inFlight += 1;
        break;
      case S.HANDED_OUT:
        counts.handedOut += 1;
        break;
      case S.TAKEN_ON:
        counts.takenOn += 1;
        counts.takeOnLatency ??= new Latency();
        counts.takeOnLatency.add(latencyMs);
        break;
      case S.MUTED:
      case S.THROTTLED:
        counts.keptBack += count;
        break;
      default:
        if (counted.again) break;
        if (!isNew) counts.inFlight = Math.max(0, counts.inFlight - 1);
        if (step === S.DONE) {
          counts.done += 1;
          counts.doneLatency ??= new Latency();
          counts.doneLatency.add(latencyMs);
        } else {
          counts.failed += 1;
        }
    }
  }

  /** It left this receiver for another one. */
  left(namespace: string, sender: string, receiver: string): void {
    const counts = this.#links.get(keyOf(namespace, sender, receiver));
    if (counts !== undefined) counts.inFlight = Math.max(0, counts.inFlight - 1);
  }

  /** A namespace was read anew: its counts begin anew, with what is in its mailboxes. */
  restart(namespace: string): void {
    for (const [key, counts] of this.#links) if (counts.namespace === namespace) this.#links.delete(key);
    for (const { agentId, record } of this.#mailboxes.all(namespace)) {
      if (record.item.case !== 'message' || this.#links.size >= this.#max) continue;
      this.#of({ namespace, sender: record.item.value.source, receiver: agentId });
    }
  }

  /** By sender and receiver. */
  list({ agentId, sender, receiver }: ListMessageLinksRequest, namespace: string): MessageLink[] {
    const found: Counts[] = [];
    for (const counts of this.#links.values()) {
      if (counts.namespace !== namespace) continue;
      if (sender !== '' && counts.sender !== sender) continue;
      if (receiver !== '' && counts.receiver !== receiver) continue;
      if (agentId !== '' && counts.sender !== agentId && counts.receiver !== agentId) continue;
      found.push(counts);
    }
    return found.sort((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1)).map(shown);
  }

  /** Every pair of a namespace, in no particular order. */
  *figures(namespace: string, nowMs: number): IterableIterator<LinkFigures> {
    for (const counts of this.#links.values()) {
      if (counts.namespace !== namespace) continue;
      const { sender, receiver, sent, failed, doneLatency } = counts;
      yield { sender, receiver, sent, failed, rate: rateOf(counts, nowMs), doneLatency };
    }
  }

  #of({ namespace, sender, receiver }: Pick<Counted, 'namespace' | 'sender' | 'receiver'>) {
    const key = keyOf(namespace, sender, receiver);
    const found = this.#links.get(key);
    if (found !== undefined) {
      found.used = true;
      return { counts: found, isNew: false };
    }
    const counts: Counts = {
      namespace,
      sender,
      receiver,
      sent: 0,
      handedOut: 0,
      takenOn: 0,
      done: 0,
      failed: 0,
      keptBack: 0,
      inFlight: this.#inMailbox(namespace, sender, receiver),
      bytes: 0,
      lastMs: 0,
      takeOnLatency: undefined,
      doneLatency: undefined,
      used: true,
      minute: 0,
      inMinute: 0,
      before: 0,
    };
    this.#links.set(key, counts);
    if (this.#links.size > this.#max) this.#forgetOne();
    return { counts, isNew: true };
  }

  /** The one that was looked at longest ago of those that were not used since (the clock algorithm). */
  #forgetOne(): void {
    for (const [key, counts] of this.#links) {
      this.#links.delete(key);
      if (!counts.used) {
        this.#forgotten += 1;
        return;
      }
      counts.used = false;
      this.#links.set(key, counts);
    }
  }

  #inMailbox(namespace: string, sender: string, receiver: string): number {
    let count = 0;
    for (const { record } of this.#mailboxes.of(namespace, receiver))
      if (record.item.case === 'message' && record.item.value.source === sender) count += 1;
    return count;
  }
}

// Neither namespace nor agent has a NUL, and a source is visible ASCII.
const keyOf = (namespace: string, sender: string, receiver: string): string =>
  `${namespace}\0${sender}\0${receiver}`;

/** A link's place among those of its namespace. */
export const placeOf = ({ sender, receiver }: { sender: string; receiver: string }): string =>
  `${sender} ${receiver}`;

const MINUTE_MS = 60_000;

function atMinute(counts: Counts, timeMs: number): void {
  const minute = Math.floor(timeMs / MINUTE_MS);
  if (minute === counts.minute) return;
  counts.before = minute === counts.minute + 1 ? counts.inMinute : 0;
  counts.inMinute = 0;
  counts.minute = minute;
}

/** A second: this minute, and of the one before the share that is not a minute ago yet. */
function rateOf(counts: Counts, nowMs: number): number {
  const minute = Math.floor(nowMs / MINUTE_MS);
  const passed = nowMs / MINUTE_MS - minute;
  // The clocks of the store and of its reckoning here may differ a little.
  if (minute < counts.minute) return counts.inMinute / 60;
  const [before, inMinute] =
    minute === counts.minute
      ? [counts.before, counts.inMinute]
      : [minute === counts.minute + 1 ? counts.inMinute : 0, 0];
  return (before * (1 - passed) + inMinute) / 60;
}

const NO_LATENCY = new Latency();

function shown(counts: Counts): MessageLink {
  return create(MessageLinkSchema, {
    sender: counts.sender,
    receiver: counts.receiver,
    sent: BigInt(counts.sent),
    handedOut: BigInt(counts.handedOut),
    takenOn: BigInt(counts.takenOn),
    done: BigInt(counts.done),
    failed: BigInt(counts.failed),
    keptBack: BigInt(counts.keptBack),
    inFlight: counts.inFlight,
    bytes: BigInt(counts.bytes),
    takeOnLatency: (counts.takeOnLatency ?? NO_LATENCY).shown(),
    doneLatency: (counts.doneLatency ?? NO_LATENCY).shown(),
    ...(counts.lastMs === 0 ? {} : { lastTime: timestampFromMs(counts.lastMs) }),
  });
}
