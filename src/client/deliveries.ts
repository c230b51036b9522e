import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { Work } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type Delivery,
  DeliveryUpdate_State,
  DeliveryUpdateSchema,
  type Revoke,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { DeliveryControls, DeliveryHandler } from './delivery.ts';
import { nameOf, unhandled } from './delivery-name.ts';
import { AgentError, Code } from './errors.ts';
import type { EffectFrame } from './outbox.ts';
import { line, prose } from './text.ts';

type UpdateInit = MessageInitShape<typeof DeliveryUpdateSchema>;

interface Held {
  /** The attempt that is answered: of what is done once and is delivered again, the latest. */
  work: Work;
  readonly command: boolean;
  /** It is done once, however often it is delivered. */
  readonly once: boolean;
  readonly name: string;
  readonly abort: AbortController;
  /** The last acceptance, to repeat it for a newer attempt. */
  accepted: UpdateInit | undefined;
}

interface Outcome {
  work: Work;
  once: boolean;
  update: UpdateInit;
  /** Whether the service has answered it. */
  told: boolean;
}

/** How many outcomes are remembered, to answer a repeated delivery with them. */
const maxRemembered = 1_024;
/** The service takes no more of each. */
const maxHeld = 1_024;
const maxRunning = 64;
const maxErrorChars = 4_096;
/** With these reasons the service says that this attempt is none of ours any more. */
const notOurs: ReadonlySet<string> = new Set(['ATTEMPT_STALE', 'DELIVERY_UNKNOWN']);

/** Hands deliveries to their handlers, and knows what this process still works on. */
export class DeliveryDesk {
  readonly #handler: DeliveryHandler | undefined;
  readonly #commands: DeliveryHandler;
  readonly #takers: (delivery: Delivery) => DeliveryHandler | undefined;
  readonly #send: (effect: EffectFrame) => Promise<void>;
  readonly #progress: (work: Work, ...counter: Parameters<DeliveryControls['progress']>) => void;
  readonly #dropProgress: (work: Work) => void;
  readonly #onError: (error: unknown, work: Work) => void;
  /** By delivery id: a newer attempt takes the place of an older one. */
  readonly #held = new Map<string, Held>();
  readonly #outcomes = new Map<string, Outcome>();
  readonly #watchers = new Set<() => void>();

  constructor(options: {
    /** For messages and tasks that nobody else takes; without it they are declined. */
    handler: DeliveryHandler | undefined;
    /** For messages and tasks, which are then done once: one that comes again meanwhile or later is not handed over anew. */
    takers?: (delivery: Delivery) => DeliveryHandler | undefined;
    /** For commands. One that returns without an outcome has succeeded. */
    commands: DeliveryHandler;
    send: (effect: EffectFrame) => Promise<void>;
    progress: (work: Work, ...counter: Parameters<DeliveryControls['progress']>) => void;
    dropProgress: (work: Work) => void;
    /** A handler threw, or an update that nobody awaits was refused. */
    onError: (error: unknown, work: Work) => void;
  }) {
    this.#handler = options.handler;
    this.#commands = options.commands;
    this.#takers = options.takers ?? (() => undefined);
    this.#send = options.send;
    this.#progress = options.progress;
    this.#dropProgress = options.dropProgress;
    this.#onError = options.onError;
  }

  /** For hello: what is worked on, and what was finished while the service could not be told. */
  held(): Work[] {
    const untold = [...this.#outcomes.values()].filter(({ told }) => !told);
    return [...this.#held.values(), ...untold].slice(0, maxHeld).map(({ work }) => work);
  }

  /** The messages and tasks that are worked on, for people. */
  running(): string[] {
    return [...this.#held.values()].filter(({ command }) => !command).map(({ name }) => name);
  }

  /** Resolves at the next change of what `running` returns, or when the signal fires. */
  change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#watchers.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      if (signal.aborted) return resolve();
      this.#watchers.add(done);
      signal.addEventListener('abort', done, { once: true });
    });
  }

  take(delivery: Delivery): void {
    const { work } = delivery;
    if (work === undefined || this.#repeat(work)) return;
    const held = this.#held.get(work.deliveryId);
    if (held !== undefined) {
      if (held.work.attempt >= work.attempt) return;
      if (held.once) {
        this.#goOn(held, work);
        return;
      }
      this.#release(held, 'a newer attempt took its place');
    }
    const command = delivery.item.case === 'command';
    const taker = command ? this.#commands : this.#takers(delivery);
    const entry: Held = {
      work,
      command,
      once: taker !== undefined,
      name: line(nameOf(delivery)),
      abort: new AbortController(),
      accepted: undefined,
    };
    this.#hold(entry);
    this.#quietly(work, this.#handle(delivery, entry, taker ?? this.#handler));
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

  /** Answers a delivery that is finished already. */
  #repeat(work: Work): boolean {
    const outcome = this.#outcomes.get(work.deliveryId);
    if (outcome === undefined) return false;
    if (work.attempt < outcome.work.attempt) return true;
    if (work.attempt > outcome.work.attempt) {
      if (!outcome.once || outcome.update.retryable === true) return false;
      outcome.work = work;
    }
    this.#quietly(work, this.#tell({ ...outcome.update, work }));
    return true;
  }

  /** What is done once came again while it is being done: it goes on, and the new attempt is answered. */
  #goOn(held: Held, work: Work): void {
    this.#dropProgress(held.work);
    held.work = work;
    if (held.accepted !== undefined) this.#quietly(work, this.#update(held, held.accepted));
  }

  async #handle(delivery: Delivery, held: Held, handler: DeliveryHandler | undefined): Promise<void> {
    const controls = this.#controls(held);
    if (handler === undefined) return controls.decline(unhandled(delivery));
    try {
      await handler(delivery, controls);
    } catch (error) {
      this.#onError(error, held.work);
      if (!this.#isHeld(held)) return;
      const text = error instanceof Error ? error.message : String(error);
      if (held.accepted !== undefined) await controls.fail(text);
      else await controls.decline(text, { retryable: !held.command });
    }
    if (held.command && this.#isHeld(held)) await controls.succeed();
  }

  #controls(held: Held): DeliveryControls {
    const finish = (state: DeliveryUpdate_State, more: UpdateInit) => this.#finish(held, { ...more, state });
    return {
      signal: held.abort.signal,
      accept: async ({ running = [], spent = {} } = {}) => {
        const before = held.accepted;
        const lines = running.map((text) => line(text)).filter((text) => text !== '');
        held.accepted = {
          state: DeliveryUpdate_State.ACCEPTED,
          running: lines.slice(0, maxRunning),
          spent,
        };
        await this.#update(held, held.accepted).catch((error: unknown) => {
          held.accepted = before ?? held.accepted; // what was refused is not said again
          throw error;
        });
      },
      decline: (error, more) =>
        finish(DeliveryUpdate_State.DECLINED, { error: prose(error, maxErrorChars), ...more }),
      succeed: (output, more) =>
        finish(DeliveryUpdate_State.SUCCEEDED, { ...(output === undefined ? {} : { output }), ...more }),
      fail: (error, more) =>
        finish(DeliveryUpdate_State.FAILED, { error: prose(error, maxErrorChars), ...more }),
      progress: (...counter) => {
        if (this.#isHeld(held)) this.#progress(held.work, ...counter);
      },
    };
  }

  async #finish(held: Held, update: UpdateInit): Promise<void> {
    const { work, once } = held;
    const stored = this.#update(held, update); // first, so that work is never neither held nor on its way
    if (!this.#isHeld(held)) return stored;
    this.#drop(held);
    this.#outcomes.delete(work.deliveryId);
    const outcome = { work, once, update, told: false };
    this.#outcomes.set(work.deliveryId, outcome);
    const oldest = this.#outcomes.size > maxRemembered ? this.#outcomes.keys().next().value : undefined;
    if (oldest !== undefined) this.#outcomes.delete(oldest);
    await stored.catch((error: unknown) => this.#unfit(outcome, error));
  }

  /** An outcome that the service cannot take, such as one that is too large, has failed: somebody waits for an end. */
  async #unfit(outcome: Outcome, error: unknown): Promise<never> {
    const unfit =
      error instanceof AgentError &&
      (error.code === Code.INVALID_ARGUMENT || error.reason === 'frame_too_large');
    if (unfit && outcome.update.state === DeliveryUpdate_State.SUCCEEDED) {
      const { spent = {} } = outcome.update;
      const said = prose(`its outcome was not taken: ${error.message}`, maxErrorChars);
      outcome.update = { state: DeliveryUpdate_State.FAILED, error: said, retryable: false, spent };
      await this.#tell({ ...outcome.update, work: outcome.work });
    }
    throw error;
  }

  #update(held: Held, update: UpdateInit): Promise<void> {
    const { work } = held;
    if (!this.#isHeld(held)) {
      const message = 'this attempt is over: it was finished, taken back or the agent closed';
      return Promise.reject(new AgentError({ code: Code.ABORTED, reason: 'work_over', message }));
    }
    return this.#tell({ ...update, work }).catch((error: unknown) => {
      if (!(error instanceof AgentError && notOurs.has(error.reason))) throw error;
      // A newer attempt has come meanwhile and is answered by itself.
      if (held.once && this.#attemptOf(work.deliveryId) > work.attempt) return;
      if (this.#isHeld(held)) this.#release(held, error.message || 'the service gave this attempt up');
      throw error;
    });
  }

  /** Sends an update, and notes when the service has answered an outcome: a refusal is an answer too. */
  async #tell(update: UpdateInit & { work: Work }): Promise<void> {
    try {
      await this.#send({ case: 'deliveryUpdate', value: create(DeliveryUpdateSchema, update) });
    } finally {
      const outcome = this.#outcomes.get(update.work.deliveryId);
      if (outcome?.work.attempt === update.work.attempt) outcome.told = true;
    }
  }

  #attemptOf(deliveryId: string): bigint {
    const { work } = this.#held.get(deliveryId) ?? this.#outcomes.get(deliveryId) ?? {};
    return work?.attempt ?? 0n;
  }

  #isHeld(held: Held): boolean {
    return this.#held.get(held.work.deliveryId) === held;
  }

  #hold(held: Held): void {
    this.#held.set(held.work.deliveryId, held);
    this.#changed();
  }

  #drop(held: Held): void {
    this.#held.delete(held.work.deliveryId);
    this.#dropProgress(held.work);
    this.#changed();
  }

  #release(held: Held, reason: string): void {
    this.#drop(held);
    held.abort.abort(new AgentError({ code: Code.CANCELLED, reason: 'work_revoked', message: reason }));
  }

  #changed(): void {
    for (const done of [...this.#watchers]) done();
  }

  #quietly(work: Work, task: Promise<void>): void {
    task.catch((error: unknown) => this.#onError(error, work));
  }
}
