import { randomUUID } from 'node:crypto';
import { type MessageShape, toBinary } from '@bufbuild/protobuf';
import {
  type SendMessage,
  SendMessageSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  type CallAgentResponseSchema,
  MessageService,
} from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { type AgentCalls, type CallLimits, mayBeRepeated } from './calls.ts';
import { AgentError, CallFailedError, Code, cancelled } from './errors.ts';
import type { EffectFrame } from './outbox.ts';
import {
  type CallTarget,
  type MessageTarget,
  type OutgoingMessage,
  type SendOptions,
  toSend,
} from './outgoing.ts';
import { type Content, contentTypeOf, fromPayload } from './payloads.ts';
import { toDuration, toMs } from './time.ts';
import type { MessageTracing } from './tracing.ts';

/** A message that is stored. */
export interface Sent {
  messageId: string;
}

/** How an agent is called. */
export interface CallOptions extends SendOptions {
  /** How long to wait for the answer in all, 100 ms to 1 h; default 30 s. */
  timeoutMs?: number;
  /**
   * It may run twice: it is given to another agent of the capability when the first one is lost, and is made again when the
   * connection breaks under it.
   */
  idempotent?: boolean;
}

/** What a called agent answered. */
export interface Answer {
  /** Text as a string, bytes as a Uint8Array, JSON as its value; undefined: an answer without content. */
  data: Content | undefined;
  /** The data's media type; empty without data. */
  contentType: string;
  /** Who answered. */
  agentId: string;
  deliveryId: string;
  /** From where the call was stored to the answer, milliseconds. */
  elapsedMs: number;
}

const FEATURE = 'messages/1';
const CALL_MS = 30_000;
/** The service takes no call with less time. */
const LEAST_MS = 100;
/** So much longer than the call itself may take the way to the service and back. */
const WAY_MS = 500;
/** Around a message in its frame: its id and lengths. */
const FRAME_BYTES = 256;

export interface AgentMessagesOptions {
  calls: AgentCalls;
  namespace: string;
  /** Sends a frame; resolves when its effect is stored. */
  transmit: (frame: EffectFrame, signal: AbortSignal) => Promise<void>;
  /** What was agreed on in the present session. */
  session: () => { features: readonly string[]; maxFrameBytes: number };
  tracing: MessageTracing;
}

/** Messages that the agent sends, and calls that it makes. */
export class AgentMessages {
  readonly #options: AgentMessagesOptions;

  constructor(options: AgentMessagesOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the message is stored. It is stored once, however often the connection breaks meanwhile.
   * @throws AgentError as AgentHandle.send says; TypeError where the data is no content
   */
  send(target: MessageTarget, message: OutgoingMessage, options: SendOptions = {}): Promise<Sent> {
    const { tracing } = this.#options;
    return tracing.send(target, message.type, async (context) => {
      const messageId = message.id ?? randomUUID();
      const extensions = { ...message.extensions, ...context };
      const send = toSend(target, message, { ...options, id: messageId, extensions });
      await this.#store(send, options);
      return { messageId };
    });
  }

  /** @throws AgentError as AgentHandle.call says; TypeError where the data is no content */
  call(target: CallTarget, message: OutgoingMessage, options: CallOptions = {}): Promise<Answer> {
    const { tracing } = this.#options;
    return tracing.call(target, message.type, async (context) => {
      const id = message.id ?? randomUUID();
      const extensions = { ...message.extensions, ...context };
      const response = await this.#call(
        toSend(target, message, { ...options, id, extensions }),
        options,
        context,
      );
      return {
        data: fromPayload(response.output),
        contentType: contentTypeOf(response.output),
        agentId: response.agentId,
        deliveryId: response.deliveryId,
        elapsedMs: toMs(response.elapsed) ?? 0,
      };
    });
  }

  async #store(send: SendMessage, { timeoutMs = this.#options.calls.timeoutMs, signal }: CallLimits) {
    const { calls, namespace, transmit, session } = this.#options;
    const over = new AbortController();
    const giveUp = (): void => over.abort(signal?.reason);
    const timer = setTimeout(() => over.abort(notAcknowledged(timeoutMs)), Math.min(timeoutMs, 2 ** 31 - 1));
    signal?.addEventListener('abort', giveUp, { once: true });
    if (signal?.aborted) giveUp();
    try {
      await calls.attachment(over.signal);
      const { features, maxFrameBytes } = session();
      const fits = toBinary(SendMessageSchema, send).length + FRAME_BYTES <= maxFrameBytes;
      if (fits && features.includes(FEATURE)) {
        try {
          return await transmit({ case: 'send', value: send }, over.signal);
        } catch (error) {
          // The replica of a later session may not know such frames.
          if (!(error instanceof AgentError) || error.reason !== 'UNKNOWN_FRAME') throw error;
        }
      }
      const request = (sessionEpoch: bigint) => ({ namespace, send, sessionEpoch });
      const limits = { timeoutMs: Number.POSITIVE_INFINITY, signal: over.signal };
      await calls.inSession(MessageService.method.sendMessage, request, limits);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', giveUp);
    }
  }

  async #call(
    send: SendMessage,
    { timeoutMs = CALL_MS, signal, idempotent = false }: CallOptions,
    headers: Readonly<Record<string, string>>,
  ): Promise<MessageShape<typeof CallAgentResponseSchema>> {
    if (timeoutMs <= 0) throw noTimeLeft();
    const { calls, namespace } = this.#options;
    const untilMs = performance.now() + timeoutMs;
    await calls.attachmentWithin(timeoutMs, signal);
    const answer = calls.inSession(
      MessageService.method.callAgent,
      (sessionEpoch) => {
        const leftMs = Math.min(timeoutMs, untilMs - performance.now());
        if (leftMs < LEAST_MS) throw noTimeLeft();
        return { namespace, send, idempotent, sessionEpoch, timeout: toDuration(leftMs) };
      },
      { timeoutMs: timeoutMs + WAY_MS, ...(signal && { signal }) },
      {
        headers,
        again: (error) => idempotent && mayBeRepeated(error) && untilMs - performance.now() > LEAST_MS,
      },
    );
    return answer.catch((error: unknown) => {
      throw error instanceof AgentError ? told(error, signal) : error;
    });
  }
}

/** The error of a call as its caller is to see it. */
function told(error: AgentError, signal: AbortSignal | undefined): AgentError {
  if (error.reason === 'CALL_FAILED') return new CallFailedError(error);
  if (error.code !== Code.CANCELLED || error.reason !== '') return error;
  if (signal?.aborted) return cancelled('the caller gave up');
  const message = 'the connection broke under the call, which may have been answered';
  return new AgentError({ code: Code.UNAVAILABLE, reason: 'connection_lost', message, cause: error });
}

const notAcknowledged = (timeoutMs: number): AgentError =>
  new AgentError({
    code: Code.DEADLINE_EXCEEDED,
    reason: 'not_acknowledged',
    message: `the message was not acknowledged within ${timeoutMs} ms; it may have been stored`,
  });

const noTimeLeft = (): AgentError =>
  new AgentError({
    code: Code.DEADLINE_EXCEEDED,
    reason: 'deadline_passed',
    message: `a call needs ${LEAST_MS} ms, and less was left`,
  });
