import type { Delivery } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { DeliveryControls, DeliveryHandler } from './delivery.ts';
import { DeclineError, PermanentError } from './errors.ts';
import type { Handlers } from './handlers.ts';
import { incoming, type MessageContext, type MessageHandler } from './message.ts';
import { toPayload } from './payloads.ts';
import { toMs } from './time.ts';
import type { MessageTracing } from './tracing.ts';
import { LATE, workSignal } from './work-signal.ts';

/** A handler that takes longer has its message accepted; what is done sooner is answered by its outcome alone. */
const ACCEPT_AFTER_MS = 20;
/** A message that waits for its turn is accepted when this part of the time for that has passed. */
const ACCEPT_PART = 0.5;
/** More do not wait here; the next ones are declined for now. The service takes no more in hello. */
const MAX_WAITING = 1_024;

interface Turn {
  readonly delivery: Delivery;
  readonly controls: DeliveryControls;
  readonly handler: MessageHandler;
  /** Of its order; undefined: it has none. */
  readonly key: string | undefined;
  readonly done: () => void;
  accept: NodeJS.Timeout | undefined;
}

/**
 * Gives messages to their handlers: at most `maxInFlight` at a time, those of one ordering key one after the other. The rest
 * wait here, accepted before their time for that is over.
 */
export class MessageDesk {
  readonly #handlers: Handlers;
  readonly #maxInFlight: number;
  readonly #lease: () => AbortSignal;
  readonly #tracing: MessageTracing;
  readonly #onError: (error: unknown, deliveryId: string) => void;
  readonly #waiting: Turn[] = [];
  readonly #keys = new Set<string>();
  #running = 0;

  constructor(options: {
    handlers: Handlers;
    maxInFlight: number;
    /** The agent's lease: fires when it counts as lost. */
    lease: () => AbortSignal;
    tracing: MessageTracing;
    /** A handler threw. */
    onError: (error: unknown, deliveryId: string) => void;
  }) {
    this.#handlers = options.handlers;
    this.#maxInFlight = Math.max(1, options.maxInFlight);
    this.#lease = options.lease;
    this.#tracing = options.tracing;
    this.#onError = options.onError;
  }

  /** The way to the handler of a message; undefined: there is none. */
  of(delivery: Delivery): DeliveryHandler | undefined {
    const handler = this.#handlers.of(delivery);
    return handler && ((_, controls) => this.#take(delivery, controls, handler));
  }

  #take(delivery: Delivery, controls: DeliveryControls, handler: MessageHandler): Promise<void> {
    if (this.#waiting.length < MAX_WAITING) return this.#enter(delivery, controls, handler);
    return controls.decline(`${MAX_WAITING} messages wait in this agent already`, { retryable: true });
  }

  /** Resolves when it is answered, or taken back. */
  #enter(delivery: Delivery, controls: DeliveryControls, handler: MessageHandler): Promise<void> {
    return new Promise((resolve) => {
      const takenBack = (): void => {
        const at = this.#waiting.indexOf(turn);
        if (at < 0) return;
        this.#waiting.splice(at, 1);
        clearTimeout(turn.accept);
        resolve();
      };
      const turn: Turn = {
        delivery,
        controls,
        handler,
        key: keyOf(delivery),
        accept: undefined,
        done: () => {
          controls.signal.removeEventListener('abort', takenBack);
          resolve();
        },
      };
      controls.signal.addEventListener('abort', takenBack, { once: true });
      this.#waiting.push(turn);
      this.#next();
      if (this.#waiting.includes(turn)) {
        const withinMs = toMs(delivery.acceptWithin) ?? 10_000;
        turn.accept = setTimeout(() => accept(controls), withinMs * ACCEPT_PART);
      }
    });
  }

  #next(): void {
    for (let at = 0; at < this.#waiting.length && this.#running < this.#maxInFlight; ) {
      const turn = this.#waiting[at];
      if (turn === undefined || (turn.key !== undefined && this.#keys.has(turn.key))) {
        at += 1;
        continue;
      }
      this.#waiting.splice(at, 1);
      clearTimeout(turn.accept);
      this.#running += 1;
      if (turn.key !== undefined) this.#keys.add(turn.key);
      void this.#run(turn).finally(() => {
        this.#running -= 1;
        if (turn.key !== undefined) this.#keys.delete(turn.key);
        turn.done();
        this.#next();
      });
    }
  }

  /** Resolves when the handler is done; what it says may still be on its way then. Never rejects. */
  async #run({ delivery, controls, handler }: Turn): Promise<void> {
    const { signal, release } = this.#signal(delivery, controls);
    const id = delivery.work?.deliveryId ?? '';
    let told: Promise<void>;
    try {
      const answer = await this.#tracing.process(delivery, async () =>
        handler(...argumentsOf(delivery, controls, signal)),
      );
      release();
      if (controls.signal.aborted) return; // nobody wants to know
      told = controls.succeed(delivery.wantsAnswer ? toPayload(answer) : undefined);
    } catch (error) {
      release();
      // At its deadline the service ends it by itself, and says why.
      if (controls.signal.aborted || signal.reason === LATE) return;
      told = this.#failed(delivery, controls, error);
    }
    told.catch((refused: unknown) => {
      if (!controls.signal.aborted) this.#onError(refused, id);
    });
  }

  #failed(delivery: Delivery, controls: DeliveryControls, error: unknown): Promise<void> {
    if (error instanceof DeclineError) return controls.decline(error.message, { retryable: error.retryable });
    this.#onError(error, delivery.work?.deliveryId ?? '');
    const text = error instanceof Error ? error.message || error.name : String(error);
    const retryable = !delivery.wantsAnswer && !(error instanceof PermanentError);
    return controls.fail(text, { retryable });
  }

  /** Accepts the delivery in time, until the signal is released. */
  #signal(delivery: Delivery, controls: DeliveryControls): ReturnType<typeof workSignal> {
    const acceptance = setTimeout(() => accept(controls), ACCEPT_AFTER_MS);
    const ends = workSignal(delivery, controls.signal, this.#lease());
    const release = (): void => {
      clearTimeout(acceptance);
      controls.signal.removeEventListener('abort', release);
      ends.release();
    };
    controls.signal.addEventListener('abort', release, { once: true });
    if (controls.signal.aborted) release();
    return { signal: ends.signal, release };
  }
}

/** Calls have no order among each other: their callers wait for them. */
function keyOf({ item, orderingKey, wantsAnswer }: Delivery): string | undefined {
  if (wantsAnswer || item.case !== 'message') return undefined;
  return orderingKey || item.value.source;
}

function argumentsOf(
  delivery: Delivery,
  controls: DeliveryControls,
  signal: AbortSignal,
): Parameters<MessageHandler> {
  const { item, work, topic, wantsAnswer } = delivery;
  if (item.case !== 'message') throw new Error('only messages have message handlers');
  const leftMs = toMs(delivery.timeLeft);
  const context: MessageContext = {
    deliveryId: work?.deliveryId ?? '',
    attempt: work?.attempt ?? 0n,
    wantsAnswer,
    signal,
    deadline: leftMs === undefined ? undefined : new Date(Date.now() + leftMs),
    decline: (reason, options) => {
      throw new DeclineError(reason, options);
    },
    progress: (done, total) => controls.progress(done, total),
    delivery,
  };
  return [incoming(item.value, topic), context];
}

/** A refusal comes back with the outcome. */
const accept = (controls: DeliveryControls): void => void controls.accept().catch(() => {});
