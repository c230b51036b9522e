import type { Client as GrpcClient, ServiceError } from '@grpc/grpc-js';
import {
  MessageService,
  type SendMessageResponse,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { unary } from '../sim-agent.ts';
import { pause } from '../until.ts';
import type { Addresses } from './addresses.ts';
import type { FaultAgent } from './fault-agent.ts';
import { type MessageBook, type Outgoing, REFUSALS } from './message-book.ts';
import type { Random } from './random.ts';
import { strain } from './strain.ts';
import { REPEATED } from './writer.ts';

export interface CourierOptions {
  name: string;
  /** A channel to each replica. */
  doors: readonly GrpcClient[];
  /** In whose sessions it sends too. */
  agents: readonly FaultAgent[];
  addresses: Addresses;
  book: MessageBook;
  random: Random;
}

const PAUSE_MS = { between: 20, repeat: 80 };
const CALL_MS = 2_000;
/** How long a message may take to be acknowledged once everything is well again. */
const PATIENCE_MS = 15_000;
/** Messages that one agent sends one after the other without waiting. */
const BURST = 5;
/** Messages that may wait in the sessions of one agent before it sends more. */
const MOST_WAITING = 5;

/** Sends one message after the other, each until it is acknowledged, and has agents send on their sessions. */
export class Courier {
  readonly #options: CourierOptions;
  #count = 0;
  #stopping = false;
  #stoppedMs = 0;
  #running: Promise<void> | undefined;

  constructor(options: CourierOptions) {
    this.#options = options;
  }

  start(): void {
    this.#stopping = false;
    this.#running = this.#run();
  }

  /** Lets what is under way be acknowledged, and stops. Call it when everything is well. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#stoppedMs = performance.now();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { random, name, agents } = this.#options;
    while (!this.#stopping) {
      const draw = random.next();
      const agent = random.pick(agents);
      if (draw < 0.3) this.#post(agent);
      else if (draw < 0.6) await this.#send(this.#draw(agent.id), agent);
      else await this.#send(this.#draw(name));
      await pause(PAUSE_MS.between);
    }
  }

  #draw(source: string, like?: Outgoing): Outgoing {
    const { addresses, random, name } = this.#options;
    this.#count += 1;
    return addresses.draw(random, source, `${name}-${this.#count}`, like);
  }

  /** Some to the same receiver, without waiting in between. */
  #post({ id, outbox }: FaultAgent): void {
    if (outbox.size >= MOST_WAITING) return;
    const first = this.#draw(id);
    outbox.post(first);
    for (let count = this.#options.random.between(1, BURST); count > 1; count -= 1) {
      outbox.post(this.#draw(id, first));
    }
  }

  /** @param agent in whose session; undefined: in nobody's */
  async #send(outgoing: Outgoing, agent?: FaultAgent): Promise<void> {
    const { doors, random, book } = this.#options;
    for (;;) {
      // Two at a time are one message all the same.
      const twice = random.chance(0.1);
      const tries = twice ? doors : [random.pick(doors)];
      const stored = await Promise.all(tries.map((door) => this.#try(outgoing, door, agent)));
      if (stored.includes(true)) return;
      if (this.#stopping && performance.now() > this.#stoppedMs + PATIENCE_MS * strain()) {
        book.faults.push(`${outgoing.id} is not acknowledged ${PATIENCE_MS} ms after the end`);
        return;
      }
      await pause(PAUSE_MS.repeat);
    }
  }

  /** Whether it is over. */
  async #try(outgoing: Outgoing, door: GrpcClient, agent: FaultAgent | undefined): Promise<boolean> {
    const { book } = this.#options;
    const sessionEpoch = agent?.epoch ?? 0n;
    if (agent !== undefined && sessionEpoch === 0n) return false;
    book.tried(outgoing);
    let response: SendMessageResponse;
    try {
      const request = { send: outgoing.request, sessionEpoch };
      const token = agent?.token;
      response = await unary(door, MessageService.method.sendMessage, request, {
        token,
        deadlineMs: CALL_MS,
      });
    } catch (error) {
      const { code, details, metadata } = error as ServiceError;
      const reason = metadata?.get('error-reason')[0]?.toString() ?? '';
      if (REFUSALS.has(reason)) book.refused(outgoing.id);
      if (REPEATED.has(code) && !details.startsWith('internal error')) return false;
      if (REFUSALS.has(reason)) return false;
      book.faults.push(`${outgoing.id}: ${code} ${reason} ${details}`);
      return true;
    }
    book.acknowledged(outgoing.id, response);
    return true;
  }
}
