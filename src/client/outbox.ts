import { clone, create, toBinary } from '@bufbuild/protobuf';
import {
  type OpenSessionRequest,
  OpenSessionRequestSchema,
  type Result,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { AgentError, Code, cancelled } from './errors.ts';
import { toMs } from './time.ts';

/** A frame kind that has an effect worth waiting for. */
export type EffectFrame = Exclude<OpenSessionRequest['frame'], { case: undefined }>;

interface Entry {
  frame: OpenSessionRequest;
  resolve: () => void;
  reject: (error: AgentError) => void;
  retry: NodeJS.Timeout | undefined;
  /** Whether a refusal with a pause is tried again after it. */
  again: (error: AgentError) => boolean;
}

/** How long a frame waits for its result, and what it makes of refusals. */
export interface EffectOptions {
  /** Gives up: the frame is not sent again. What it says may be stored already. */
  signal?: AbortSignal;
  /** Whether a refusal that comes with a pause is tried again after it; default: always. */
  again?: (error: AgentError) => boolean;
}

/** At most this many frames wait for their result; the next one is refused. */
const maxWaiting = 1_024;

/**
 * Frames that the service has not answered yet. They are sent again after a reconnect: updates are fenced by their
 * attempt and messages carry an id, so a repeat does no harm and a lost connection loses nothing.
 */
export class Outbox {
  readonly #transmit: (frame: OpenSessionRequest) => void;
  readonly #prefix: string;
  readonly #entries = new Map<string, Entry>();
  #next = 0;
  #maxFrameBytes = Number.POSITIVE_INFINITY;
  #failure: AgentError | undefined;

  constructor(options: {
    /** Before every frame id, so that ids of two processes differ. */
    prefix: string;
    /** Sends now if there is a session, else does nothing. */
    transmit: (frame: OpenSessionRequest) => void;
  }) {
    this.#prefix = options.prefix;
    this.#transmit = options.transmit;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Sends a frame and resolves once its effect is stored. Rejects with the AgentError that the service names. */
  add(effect: EffectFrame, { signal, again = () => true }: EffectOptions = {}): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const frame = create(OpenSessionRequestSchema, {
      frameId: `${this.#prefix}/${this.#next++}`,
      frame: effect,
    });
    const problem = this.#problem(frame);
    if (problem !== undefined) return Promise.reject(problem);
    const copy = clone(OpenSessionRequestSchema, frame); // callers may go on to change theirs
    return new Promise((resolve, reject) => {
      const giveUp = (): void => this.#giveUp(copy.frameId, signal?.reason);
      const release = (): void => signal?.removeEventListener('abort', giveUp);
      this.#entries.set(copy.frameId, {
        frame: copy,
        resolve: () => {
          release();
          resolve();
        },
        reject: (error) => {
          release();
          reject(error);
        },
        retry: undefined,
        again,
      });
      signal?.addEventListener('abort', giveUp, { once: true });
      if (signal?.aborted) giveUp();
      else this.#transmit(copy);
    });
  }

  #giveUp(frameId: string, reason: unknown): void {
    const entry = this.#entries.get(frameId);
    if (entry === undefined) return;
    clearTimeout(entry.retry);
    this.#entries.delete(frameId);
    entry.reject(reason instanceof AgentError ? reason : cancelled('the caller gave up'));
  }

  /** Takes in a result; false when nobody waits for it. */
  settle(result: Result): boolean {
    const entry = this.#entries.get(result.frameId);
    if (entry === undefined) return false;
    const error = result.code === Code.OK ? undefined : refusal(result);
    if (error !== undefined && result.retryAfter !== undefined && entry.again(error)) {
      clearTimeout(entry.retry);
      entry.retry = setTimeout(() => {
        entry.retry = undefined;
        this.#transmit(entry.frame);
      }, toMs(result.retryAfter));
      return true;
    }
    clearTimeout(entry.retry);
    this.#entries.delete(result.frameId);
    if (error === undefined) entry.resolve();
    else entry.reject(error);
    return true;
  }

  /** Sends everything unanswered again, in its first order: a new session is open. */
  resend(maxFrameBytes: number): void {
    this.#maxFrameBytes = maxFrameBytes;
    for (const entry of this.#entries.values()) {
      clearTimeout(entry.retry);
      entry.retry = undefined;
      this.#transmit(entry.frame);
    }
  }

  /** Gives up: all that waits, and all that comes later, rejects. */
  fail(error: AgentError): void {
    this.#failure = error;
    for (const entry of this.#entries.values()) {
      clearTimeout(entry.retry);
      entry.reject(error);
    }
    this.#entries.clear();
  }

  #problem(frame: OpenSessionRequest): AgentError | undefined {
    if (this.#entries.size >= maxWaiting) {
      return new AgentError({
        code: Code.RESOURCE_EXHAUSTED,
        reason: 'outbox_full',
        message: `${maxWaiting} frames wait for the service already`,
      });
    }
    const bytes = toBinary(OpenSessionRequestSchema, frame).length;
    if (bytes <= this.#maxFrameBytes) return undefined;
    return new AgentError({
      code: Code.RESOURCE_EXHAUSTED,
      reason: 'frame_too_large',
      message: `the frame has ${bytes} bytes, the service takes ${this.#maxFrameBytes}; use a unary call`,
    });
  }
}

const refusal = ({ code, detail, reason, retryAfter }: Result): AgentError =>
  new AgentError({ code, message: detail, reason, retryAfterMs: toMs(retryAfter) });
