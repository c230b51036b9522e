import { randomUUID } from 'node:crypto';
import type { DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { AgentError, Code, cancelled, unexpected } from './errors.ts';
import { backoffMs, sleep } from './time.ts';
import type { AgentTransport } from './transport.ts';

/** An open session, as calls on its behalf need it. */
export interface Attachment {
  transport: AgentTransport;
  /** Undefined: of no agent. */
  token: string | undefined;
  epoch: bigint;
  /** Fires when the session is over. */
  ended: AbortSignal;
}

export interface CallLimits {
  /** How long it may take in all, over reconnects; default: the agent's `timeoutMs`. */
  timeoutMs?: number;
  /** Gives up. What was asked for may have happened all the same. */
  signal?: AbortSignal;
}

type Sessioned<M extends DescMethodUnary> = (session: {
  sessionEpoch: bigint;
  requestId: string;
}) => MessageInitShape<M['input']>;

/** Further metadata, by lower-case names. */
type Headers = Readonly<Record<string, string>>;

const BACKOFF = { baseMs: 200, capMs: 2_000, random: Math.random };

/** Unary calls on the agent's own channel, repeated over reconnects until they are answered. */
export class AgentCalls {
  readonly #defaultMs: number;
  #attachment: Attachment | undefined;
  #end = new AbortController();
  #closed: AgentError | undefined;
  readonly #waiting = new Set<() => void>();
  readonly #listeners = new Set<(attachment: Attachment) => void>();

  constructor(options: { timeoutMs: number }) {
    this.#defaultMs = options.timeoutMs;
  }

  get timeoutMs(): number {
    return this.#defaultMs;
  }

  /** A session is open. */
  attached(session: Omit<Attachment, 'ended'>): void {
    this.detached();
    this.#end = new AbortController();
    this.#attachment = { ...session, ended: this.#end.signal };
    this.#wake();
    for (const listener of [...this.#listeners]) listener(this.#attachment);
  }

  /** The session is over. */
  detached(): void {
    this.#attachment = undefined;
    this.#end.abort();
  }

  /** There will be no session any more: what waits fails, and what comes. */
  close(error: AgentError): void {
    this.detached();
    this.#closed = error;
    this.#wake();
  }

  /** Told of each session that is opened from now on. */
  onAttached(listener: (attachment: Attachment) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A read, or a write that may be repeated. Rejects with an AgentError. */
  call<M extends DescMethodUnary>(
    method: M,
    request: MessageInitShape<M['input']>,
    limits: CallLimits = {},
  ): Promise<MessageShape<M['output']>> {
    return this.#repeat(limits, (at, timeoutMs, signal) =>
      at.transport.unary(method, request, { token: at.token, timeoutMs, signal }),
    );
  }

  /**
   * A write in the agent's present session. It happens once: the service knows a repeat by its request id, also one of an
   * earlier session. Only when it says that it did nothing in that one, the write is made anew in the present one.
   */
  write<M extends DescMethodUnary>(
    method: M,
    request: Sessioned<M>,
    limits: CallLimits = {},
  ): Promise<MessageShape<M['output']>> {
    let tried: { epoch: bigint; request: MessageInitShape<M['input']> } | undefined;
    return this.#repeat(limits, async (at, timeoutMs, signal) => {
      tried ??= { epoch: at.epoch, request: request({ sessionEpoch: at.epoch, requestId: randomUUID() }) };
      const { epoch } = tried;
      try {
        return await at.transport.unary(method, tried.request, { token: at.token, timeoutMs, signal });
      } catch (error) {
        if (!(error instanceof AgentError) || !isOfOldSession(error)) throw error;
        tried = undefined;
        const message = `session ${epoch} is over: ${error.message}`;
        throw new AgentError({ code: Code.UNAVAILABLE, reason: 'session_over', message, cause: error });
      }
    });
  }

  /**
   * Something in the agent's present session that is made anew in the next one: only when the service says that it did nothing
   * in that one, or `again` says so of an error; default: as of all others that may be repeated.
   */
  inSession<M extends DescMethodUnary>(
    method: M,
    request: (sessionEpoch: bigint) => MessageInitShape<M['input']>,
    limits: CallLimits,
    { headers, again = mayBeRepeated }: { headers?: Headers; again?: (error: AgentError) => boolean } = {},
  ): Promise<MessageShape<M['output']>> {
    return this.#repeat(
      limits,
      (at, timeoutMs, signal) =>
        at.transport.unary(method, request(at.epoch), {
          token: at.token,
          timeoutMs,
          signal,
          ...(headers && { headers }),
        }),
      (error) => isOfOldSession(error) || again(error),
    );
  }

  /** The open session, or the next one. Rejects when the time is over or there will be none. */
  async attachment(signal: AbortSignal): Promise<Attachment> {
    for (;;) {
      if (this.#closed !== undefined) throw this.#closed;
      if (signal.aborted) throw gaveUp(signal);
      if (this.#attachment !== undefined) return this.#attachment;
      await this.#change(signal);
    }
  }

  /** As `attachment`, for at most `timeoutMs`. */
  async attachmentWithin(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    await this.#repeat({ timeoutMs, ...(signal && { signal }) }, async () => {});
  }

  async #repeat<T>(
    { timeoutMs = this.#defaultMs, signal }: CallLimits,
    attempt: (at: Attachment, timeoutMs: number, signal: AbortSignal) => Promise<T>,
    again: (error: AgentError) => boolean = mayBeRepeated,
  ): Promise<T> {
    const over = new AbortController();
    const end = (): void => over.abort(signal?.reason);
    const untilMs = performance.now() + timeoutMs;
    const timer = Number.isFinite(timeoutMs) ? setTimeout(() => over.abort(tooLate), timeoutMs) : undefined;
    signal?.addEventListener('abort', end, { once: true });
    if (signal?.aborted) end();
    let last: AgentError | undefined;
    try {
      for (let tries = 0; ; tries += 1) {
        const at = await this.attachment(over.signal).catch((error: unknown) => {
          throw over.signal.reason === tooLate ? notAttached(last) : error;
        });
        const ends = AbortSignal.any([over.signal, at.ended]);
        try {
          return await attempt(at, Math.min(2 ** 31, Math.max(1, untilMs - performance.now())), ends);
        } catch (error) {
          last = error instanceof AgentError ? error : unexpected(error);
          if (!again(last)) throw last;
          if (over.signal.aborted) throw signal?.aborted ? gaveUp(signal) : last;
          await sleep(
            Math.max(last.retryAfterMs ?? 0, backoffMs({ attempt: tries, ...BACKOFF })),
            over.signal,
          );
        }
      }
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
    }
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener('abort', done, { once: true });
    });
  }

  #wake(): void {
    for (const done of [...this.#waiting]) done();
  }
}

/** Why a signal fired: the time was over. */
const tooLate = Symbol('too late');

const notAttached = (last: AgentError | undefined): AgentError =>
  new AgentError({
    code: Code.DEADLINE_EXCEEDED,
    reason: 'not_attached',
    message: `the agent was not attached in time${last === undefined ? '' : `; the last try failed: ${last.message}`}`,
    cause: last,
  });

const gaveUp = ({ reason }: AbortSignal): AgentError =>
  reason instanceof AgentError ? reason : cancelled('the caller gave up');

const isOfOldSession = ({ reason }: AgentError): boolean =>
  reason === 'EPOCH_STALE' || reason === 'SESSION_SUPERSEDED';

/** The connection or the service failed under it, or the service says so itself. */
export function mayBeRepeated({ code, reason }: AgentError): boolean {
  if (reason === 'RECEIVER_GONE') return false; // an answer, not a failure
  if (code === Code.UNAVAILABLE || reason === 'CONTENTION') return true;
  return (
    reason === '' && (code === Code.CANCELLED || code === Code.DEADLINE_EXCEEDED || code === Code.INTERNAL)
  );
}
