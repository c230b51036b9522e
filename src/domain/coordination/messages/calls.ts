import { create } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type CallAgentRequest,
  type CallAgentResponse,
  CallAgentResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { ReplyRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Background } from '../../../lib/background.ts';
import type { Clock } from '../../../lib/clock.ts';
import { DomainError } from '../../../lib/errors.ts';
import { durationFromMs, msFromDuration } from '../../../lib/proto-time.ts';
import { type Store, StoreUnavailableError } from '../../../state/store.ts';
import type { Caller } from '../../agent/caller.ts';
import { limitReached } from '../../agent/errors.ts';
import { namespaceOf } from '../../namespaces.ts';
import { mailKey } from '../delivery-record.ts';
import type { Waiting } from '../locks/locks.ts';
import { replyKey } from './message-record.ts';
import type { Messages } from './messages.ts';
import { receiverGone } from './receivers.ts';
import type { CallEnd, Replies } from './replies.ts';

export interface CallsOptions {
  store: Store;
  messages: Messages;
  replies: Replies;
  clock: Clock;
  background: Background;
  /** Calls that may wait at a time on this replica. */
  maxCalls: number;
}

const DEFAULT_TIMEOUT_MS = 30_000;
/** The answer has to reach the caller before its deadline. */
const MARGIN_MS = 50;
/** Agents that one idempotent call is given to, one after the other. */
const MAX_AGENTS = 5;

/** Request and reply between agents: a message whose outcome somebody waits for. */
export class Calls {
  readonly #options: CallsOptions;

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  /**
   * @throws DomainError as Messages.send, RECEIVER_GONE, CALL_FAILED, DEADLINE_EXCEEDED, LIMIT_REACHED
   */
  async call(request: CallAgentRequest, caller: Caller, waiting: Waiting): Promise<CallAgentResponse> {
    const { messages, replies, clock, maxCalls } = this.#options;
    const namespace = namespaceOf(request);
    const { send, idempotent, sessionEpoch } = request;
    if (send === undefined) throw new Error('a call without its message passed validation');
    if (replies.size >= maxCalls)
      throw limitReached(`${maxCalls} calls wait for their answer at this replica`);
    const startMs = clock.monoMs();
    const asked = request.timeout === undefined ? undefined : msFromDuration(request.timeout);
    const leftMs = waiting.timeLeftMs === undefined ? undefined : waiting.timeLeftMs - MARGIN_MS;
    const timeoutMs = Math.max(
      1,
      Math.min(asked ?? leftMs ?? DEFAULT_TIMEOUT_MS, leftMs ?? Number.POSITIVE_INFINITY),
    );
    for (let agents = 1; ; agents += 1) {
      const remainingMs = () => timeoutMs - (clock.monoMs() - startMs);
      if (remainingMs() <= 0) throw tooLate(timeoutMs);
      let reply: AwaitedReply | undefined;
      const chosen = (agentId: string, deliveryId: string): void => {
        reply?.stop();
        reply = replies.wait(namespace, agentId, deliveryId);
      };
      const call = { timeoutMs: Math.max(1, remainingMs()), idempotent, chosen };
      const sent = messages.send(namespace, send, { caller, sessionEpoch, call });
      const { agentId, deliveryId } = await sent.catch((error: unknown) => {
        reply?.stop();
        throw error;
      });
      if (reply === undefined) throw new Error('a call was stored for nobody');
      const end = await this.#wait(reply, remainingMs(), waiting.signal);
      this.#tidy(namespace, agentId, deliveryId, end);
      if (end === 'late') throw tooLate(timeoutMs);
      if (end.kind === 'reply') {
        if (end.reply.state === 'succeeded') return answer(end.reply, deliveryId, clock.monoMs() - startMs);
        if (end.reply.state === 'expired') throw tooLate(timeoutMs);
        throw callFailed(end.reply);
      }
      const elsewhere = idempotent && send.to.case === 'capability' && agents < MAX_AGENTS;
      if (!elsewhere) {
        throw receiverGone(
          end.kind === 'gone'
            ? `agent ${agentId} ${end.why}; it may have acted on the call`
            : 'the store was replaced while the call was under way',
        );
      }
    }
  }

  async #wait(reply: AwaitedReply, timeoutMs: number, signal: AbortSignal): Promise<CallEnd | 'late'> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), Math.max(0, timeoutMs));
      signal.addEventListener('abort', () => resolve('late'), { once: true });
      if (signal.aborted) resolve('late');
    });
    try {
      return await Promise.race([reply.ended, late]);
    } finally {
      clearTimeout(timer);
      reply.stop();
    }
  }

  /** Nobody waits any more: the reply, or the delivery that is still to be answered, goes. */
  #tidy(namespace: string, agentId: string, deliveryId: string, end: CallEnd | 'late'): void {
    const { store, background } = this.#options;
    const key = end !== 'late' && end.kind === 'reply' ? replyKey(deliveryId) : mailKey(agentId, deliveryId);
    background.run('tidy up after a call', async () => {
      try {
        await store.commit({ namespace, deletes: [key] });
      } catch (error) {
        // It expires by itself.
        if (!(error instanceof StoreUnavailableError)) throw error;
      }
    });
  }
}

type AwaitedReply = ReturnType<Replies['wait']>;

function answer({ output, agentId }: ReplyRecord, deliveryId: string, elapsedMs: number): CallAgentResponse {
  return create(CallAgentResponseSchema, {
    agentId,
    deliveryId,
    elapsed: durationFromMs(elapsedMs),
    ...(output === undefined ? {} : { output }),
  });
}

const tooLate = (timeoutMs: number): DomainError =>
  new DomainError({
    reason: ErrorReason.DEADLINE_EXCEEDED,
    message: `no answer came within ${Math.round(timeoutMs)} ms`,
  });

function callFailed({ state, error, agentId }: ReplyRecord): DomainError {
  const why = error === '' ? '' : `: ${error}`;
  const how =
    state === 'tries' ? 'did not take the call on, however often it was delivered' : `${state} the call`;
  return new DomainError({
    reason: ErrorReason.CALL_FAILED,
    message: `agent ${agentId} ${how}${why}`,
    metadata: { agent_id: agentId, state, error },
  });
}
