import { quantile } from '../figures.ts';
import { cpuUs } from '../process-stats.ts';
import type { MessageLoad, MessageResult } from './protocol.ts';

/** Both ends of the traffic, for one kind of server. */
export interface Carrier {
  open(listener: CarrierListener): Promise<void>;
  /** Has sender `sender` send message `number` to receiver `receiver`. */
  send(number: number, sender: number, receiver: number): void;
  close(): void | Promise<void>;
}

/** What becomes of message `number`. */
export interface CarrierListener {
  stored(number: number): void;
  received(number: number): void;
  /** The receiver's acknowledgement is stored: the message is over. */
  acknowledged(number: number): void;
  failed(why: string): void;
}

const TICK_MS = 2;

/** Sends at a rate, or with so many messages under way, and takes the times. */
export async function runTraffic(load: MessageLoad, carrier: Carrier): Promise<MessageResult> {
  const sentMs: number[] = [];
  const senderOf: number[] = [];
  const stored: number[] = [];
  const received: number[] = [];
  const acknowledged: number[] = [];
  let failure: string | undefined;
  let sending = true;
  let over = 0;
  let fromMs = Number.POSITIVE_INFINITY;
  let toMs = Number.POSITIVE_INFINITY;
  const take = (into: number[], number: number): void => {
    const nowMs = performance.now();
    if (nowMs >= fromMs && nowMs < toMs) into.push(nowMs - (sentMs[number] ?? nowMs));
  };
  const send = (sender: number): void => {
    const number = sentMs.length;
    sentMs.push(performance.now());
    senderOf.push(sender);
    // Everybody talks to everybody, in turns.
    carrier.send(number, sender, (sender + 1 + Math.floor(number / load.pairs)) % load.pairs);
  };
  await carrier.open({
    stored: (number) => take(stored, number),
    received: (number) => take(received, number),
    acknowledged: (number) => {
      over += 1;
      take(acknowledged, number);
      if (sending && load.window > 0) send(senderOf[number] ?? 0);
    },
    failed: (why) => {
      failure ??= why;
    },
  });
  const startMs = performance.now();
  fromMs = startMs + load.warmupMs;
  toMs = fromMs + load.durationMs;
  for (let sender = 0; load.window > 0 && sender < load.pairs; sender += 1) {
    for (let count = 0; count < load.window; count += 1) send(sender);
  }
  let paced = 0;
  let before: number[] | undefined;
  while (performance.now() < toMs && failure === undefined) {
    if (performance.now() >= fromMs) before ??= load.watch.map(cpuUs);
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    const due = load.window > 0 ? 0 : ((performance.now() - startMs) / 1000) * load.ratePerSecond;
    for (; paced < due; paced += 1) send(paced % load.pairs);
  }
  const after = load.watch.map(cpuUs);
  sending = false;
  const patienceMs = performance.now() + 10_000;
  while (over < sentMs.length && failure === undefined && performance.now() < patienceMs) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const left = sentMs.length - over;
  await carrier.close();
  if (failure !== undefined) throw new Error(failure);
  if (left > 0) throw new Error(`${left} of ${sentMs.length} messages were not over after 10 s`);
  const times = (values: number[]) => ({ p50Ms: quantile(values, 0.5), p99Ms: quantile(values, 0.99) });
  return {
    acknowledged: acknowledged.length,
    elapsedMs: load.durationMs,
    stored: times(stored),
    received: times(received),
    over: times(acknowledged),
    cpuUs: after.map((us, index) => us - (before?.[index] ?? us)),
  };
}
