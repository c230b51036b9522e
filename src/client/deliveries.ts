import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { Work } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type Delivery,
  DeliveryUpdate_State,
  DeliveryUpdateSchema,
  type PayloadSchema,
  type Revoke,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { AgentError, Code } from './errors.ts';
import type { EffectFrame } from './outbox.ts';

type UpdateInit = MessageInitShape<typeof DeliveryUpdateSchema>;

/** What a handler can do with a delivery. Each promise resolves once the service has stored the update. */
export interface DeliveryControls {
  /** Fires when the work is taken back (cancelled, superseded) or the agent closes: stop, the outcome is not wanted. */
  readonly signal: AbortSignal;
  /** Takes it on; an outcome must follow. */
  accept(): Promise<void>;
  /** Does not take it on. */
  decline(error: string, options?: { retryable?: boolean }): Promise<void>;
  /** Done. `spent` counts against the budgets granted. */
  succeed(
    output?: MessageInitShape<typeof PayloadSchema>,
    options?: { spent?: Record<string, bigint> },
  ): Promise<void>;
  /** Done, without success. */
  fail(error: string, options?: { retryable?: boolean; spent?: Record<string, bigint> }): Promise<void>;
  /** Tells how far it is, in the agent's own unit. */
  progress(done: number | bigint, total?: number | bigint): void;
}

/**
 * Takes a delivery. It is called once for each (delivery id, attempt). If it throws before accepting, the delivery is
 * declined as retryable; after accepting, it has failed.
 */
export type DeliveryHandler = (delivery: Delivery, controls: DeliveryControls) => Promise<void> | void;

interface Held {
  work: Work;
  abort: AbortController;
  accepted: boolean;
}

/** How many outcomes are remembered, to answer a repeated delivery with them. */
const maxRemembered = 1_024;

/** Hands deliveries to the handler once each, and knows what this process still works on. */
export class DeliveryDesk {
  readonly #handler: DeliveryHandler | undefined;
  readonly #send: (effect: EffectFrame) => Promise<void>;
  readonly #progress: (work: Work, done: number | bigint, total?: number | bigint) => void;
  readonly #dropProgress: (work: Work) => void;
  readonly #onError: (error: unknown, work: Work) => void;
  /** By delivery id: a newer attempt takes the place of an older one. */
  readonly #held = new Map<string, Held>();
  readonly #outcomes = new Map<string, UpdateInit>();

  constructor(options: {
    handler: DeliveryHandler | undefined;
    send: (effect: EffectFrame) => Promise<void>;
    progress: (work: Work, done: number | bigint, total?: number | bigint) => void;
    dropProgress: (work: Work) => void;
    /** A handler threw, or an update that nobody awaits was refused. */
    onError: (error: unknown, work: Work) => void;
  }) {
    this.#handler = options.handler;
    this.#send = options.send;
    this.#progress = options.progress;
    this.#dropProgress = options.dropProgress;
    this.#onError = options.onError;
  }

  /** For hello. */
  held(): Work[] {
    return [...this.#held.values()].map(({ work }) => work);
  }

  take(delivery: Delivery): void {
    const { work } = delivery;
    if (work === undefined) return;
    const outcome = this.#outcomes.get(key(work));
    if (outcome !== undefined) {
      this.#quietly(
        work,
        this.#send({ case: 'deliveryUpdate', value: create(DeliveryUpdateSchema, outcome) }),
      );
      return;
    }
    const held = this.#held.get(work.deliveryId);
    if (held !== undefined) {
      if (held.work.attempt >= work.attempt) return;
      this.#release(held, 'a newer attempt took its place');
    }
    const entry: Held = { work, abort: new AbortController(), accepted: false };
    this.#held.set(work.deliveryId, entry);
    this.#quietly(work, this.#handle(delivery, entry));
  }

  revoke(revoke: Pick<Revoke, 'work' | 'reason'>): void {
    const held = revoke.work && this.#held.get(revoke.work.deliveryId);
    if (held === undefined || held.work.attempt !== revoke.work?.attempt) return;
    this.#release(held, revoke.reason || 'revoked');
  }

  /** Aborts everything: the agent is closing. */
  close(reason: string): void {
    for (const held of [...this.#held.values()]) this.#release(held, reason);
  }

  async #handle(delivery: Delivery, held: Held): Promise<void> {
    const controls = this.#controls(held);
    if (this.#handler === undefined) return controls.decline('this agent takes no deliveries');
    try {
      await this.#handler(delivery, controls);
    } catch (error) {
      this.#onError(error, held.work);
      if (this.#held.get(held.work.deliveryId) !== held) return;
      const text = error instanceof Error ? error.message : String(error);
      if (held.accepted) await controls.fail(text);
      else await controls.decline(text, { retryable: true });
    }
  }

  #controls(held: Held): DeliveryControls {
    const { work } = held;
    const finish = (state: DeliveryUpdate_State, more: UpdateInit) =>
      this.#finish(held, { ...more, work, state });
    return {
      signal: held.abort.signal,
      accept: () => {
        held.accepted = true;
        return this.#update(held, { work, state: DeliveryUpdate_State.ACCEPTED });
      },
      decline: (error, more) => finish(DeliveryUpdate_State.DECLINED, { error: cut(error), ...more }),
      succeed: (output, more) =>
        finish(DeliveryUpdate_State.SUCCEEDED, { ...(output === undefined ? {} : { output }), ...more }),
      fail: (error, more) => finish(DeliveryUpdate_State.FAILED, { error: cut(error), ...more }),
      progress: (done, total) => {
        if (this.#held.get(work.deliveryId) === held) this.#progress(work, done, total);
      },
    };
  }

  async #finish(held: Held, update: UpdateInit): Promise<void> {
    const stored = this.#update(held, update); // first, so that work is never neither held nor on its way
    if (this.#held.get(held.work.deliveryId) === held) {
      this.#held.delete(held.work.deliveryId);
      this.#dropProgress(held.work);
      this.#outcomes.set(key(held.work), update);
      const oldest = this.#outcomes.size > maxRemembered ? this.#outcomes.keys().next().value : undefined;
      if (oldest !== undefined) this.#outcomes.delete(oldest);
    }
    await stored;
  }

  #update(held: Held, update: UpdateInit): Promise<void> {
    if (this.#held.get(held.work.deliveryId) !== held) {
      const message = 'this attempt is over: it was finished, taken back or the agent closed';
      return Promise.reject(new AgentError({ code: Code.ABORTED, reason: 'work_over', message }));
    }
    return this.#send({ case: 'deliveryUpdate', value: create(DeliveryUpdateSchema, update) });
  }

  #release(held: Held, reason: string): void {
    this.#held.delete(held.work.deliveryId);
    this.#dropProgress(held.work);
    held.abort.abort(new AgentError({ code: Code.CANCELLED, reason: 'work_revoked', message: reason }));
  }

  #quietly(work: Work, task: Promise<void>): void {
    task.catch((error: unknown) => this.#onError(error, work));
  }
}

function key(work: Work): string {
  return `${work.attempt}/${work.deliveryId}`;
}

/** The service takes error texts up to this length. */
function cut(text: string): string {
  return text.slice(0, 4_096);
}
