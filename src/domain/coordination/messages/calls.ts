import { create } from '@bufbuild/protobuf';
import type { SendMessage } from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type CallAgentRequest,
  type CallAgentResponse,
  CallAgentResponseSchema,
  type SendMessageResponse,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { ReplyRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Background } from '../../../lib/background.ts';
import type { Clock } from '../../../lib/clock.ts';
import { DomainError } from '../../../lib/errors.ts';
import { durationFromMs, msFromDuration } from '../../../lib/proto-time.ts';
import type { MergedCommits } from '../../../state/merged-commits.ts';
import { StoreUnavailableError } from '../../../state/store.ts';
import type { Caller } from '../../agent/caller.ts';
import { limitReached } from '../../agent/errors.ts';
import { namespaceOf } from '../../namespaces.ts';
import { mailKey } from '../delivery-record.ts';
import type { Waiting } from '../locks/locks.ts';
import { replyKey } from './message-record.ts';
import type { Messages, SendHow } from './messages.ts';
import { receiverGone } from './receivers.ts';
import type { CallEnd, Replies } from './replies.ts';

export interface CallsOptions {
  merged: MergedCommits;
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
const LATE = 'late';

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
    const { replies, clock, maxCalls } = this.#options;
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
    const deadline = lateAfter(timeoutMs, waiting.signal);
    try {
      for (let agents = 1; ; agents += 1) {
        const remainingMs = timeoutMs - (clock.monoMs() - startMs);
        if (remainingMs <= 0) throw tooLate(timeoutMs);
        const how = { caller, sessionEpoch, call: { timeoutMs: Math.max(1, remainingMs), idempotent } };
        const called = await this.#once(namespace, send, how, deadline.late);
        if (called === LATE) throw tooLate(timeoutMs);
        const { agentId, deliveryId, end } = called;
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
    } finally {
      deadline.stop();
    }
  }

  /** Gives a call to one agent; nothing is left of it but what goes in the background. */
  async #once(
    namespace: string,
    send: SendMessage,
    how: CallHow,
    late: Promise<typeof LATE>,
  ): Promise<{ agentId: string; deliveryId: string; end: CallEnd } | typeof LATE> {
    const { messages, replies } = this.#options;
    let isOver = false;
    let reply: AwaitedReply | undefined;
    const chosen = (agentId: string, deliveryId: string): void => {
      reply?.stop();
      // Sending may go on when nobody waits any more.
      if (!isOver) reply = replies.wait(namespace, agentId, deliveryId);
    };
    const sent = messages.send(namespace, send, { ...how, call: { ...how.call, chosen } });
    try {
      // A slow store does not make the call longer.
      const stored = await Promise.race([sent, late]);
      if (stored === LATE) {
        this.#tidyWhenStored(namespace, sent);
        return LATE;
      }
      if (reply === undefined) throw new Error('a call was stored for nobody');
      const { agentId, deliveryId } = stored;
      const end = await Promise.race([(reply as AwaitedReply).ended, late]);
      this.#tidy(namespace, agentId, deliveryId, end);
      return end === LATE ? LATE : { agentId, deliveryId, end };
    } finally {
      isOver = true;
      reply?.stop();
    }
  }

  #tidyWhenStored(namespace: string, sent: Promise<SendMessageResponse>): void {
    this.#options.background.run('take back a late call', async () => {
      const stored = await sent.catch(() => undefined);
      // What was refused is not there; what may have been stored all the same expires by itself.
      if (stored !== undefined) this.#tidy(namespace, stored.agentId, stored.deliveryId, LATE);
    });
  }

  /** Nobody waits any more: the reply, or the delivery that is still to be answered, goes. */
  #tidy(namespace: string, agentId: string, deliveryId: string, end: CallEnd | typeof LATE): void {
    const { merged, background } = this.#options;
    const key = end !== LATE && end.kind === 'reply' ? replyKey(deliveryId) : mailKey(agentId, deliveryId);
    background.run('tidy up after a call', async () => {
      try {
        await merged.commit(namespace, () => ({ deletes: [key] }));
      } catch (error) {
        // It expires by itself.
        if (!(error instanceof StoreUnavailableError)) throw error;
      }
    });
  }
}

type AwaitedReply = ReturnType<Replies['wait']>;
type CallHow = SendHow & { call: NonNullable<SendHow['call']> };

/** When the time is over, or nobody waits for the answer any more. */
function lateAfter(timeoutMs: number, signal: AbortSignal): { late: Promise<typeof LATE>; stop: () => void } {
  let stop = (): void => {};
  const late = new Promise<typeof LATE>((resolve) => {
    const end = (): void => resolve(LATE);
    const timer = setTimeout(end, timeoutMs);
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
    stop = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
    };
  });
  return { late, stop };
}

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
