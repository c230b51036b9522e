import { create } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type MessageTrace,
  MessageTrace_Step,
  MessageTraceSchema,
  type WatchMessagesRequest,
  type WatchMessagesResponse,
  WatchMessagesResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { DeliveryRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import { type Store, StoreUnavailableError } from '../../../state/store.ts';
import { namespaceOf } from '../../namespaces.ts';
import { decodePayload } from '../messages/message-record.ts';
import { patternsOf } from '../messages/subscription-view.ts';
import type { Ear, Traffic } from './traffic.ts';

export interface MessageWatchOptions {
  traffic: Traffic;
  store: Store;
  /** Traces that a watcher may be behind before it is cut off. */
  watchBuffer: number;
}

/** A trace, and the payload to be fetched for it. */
interface Heard {
  trace: MessageTrace;
  record: DeliveryRecord | undefined;
}

const MAX_TRACES = 256;
/** Responses with payloads stay well below the largest message that clients take. */
const MAX_DATA_BYTES = 1 << 20;
/** Without traffic a response shows this often that the watch is alive. */
const PROGRESS_MS = 60_000;

/**
 * Follows the traffic of one namespace for one caller, from now on.
 * @throws DomainError SLOW_CONSUMER, CURSOR_EPOCH
 */
export async function* watchMessages(
  request: WatchMessagesRequest,
  signal: AbortSignal,
  { traffic, store, watchBuffer }: MessageWatchOptions,
): AsyncGenerator<WatchMessagesResponse, void, undefined> {
  const namespace = namespaceOf(request);
  const isWanted = compileTraceFilter(request);
  let queue: Heard[] = [];
  let failure: DomainError | undefined;
  let ticked = false;
  let wake: (() => void) | undefined;
  const ear: Ear = {
    hear: (trace, record) => {
      if (failure !== undefined || !isWanted(trace)) return;
      if (queue.length >= watchBuffer) {
        failure = slowConsumer(watchBuffer);
        queue = [];
      } else {
        queue.push({ trace, record: request.withData && isStored(trace) ? record : undefined });
      }
      wake?.();
    },
    lost: (position) => {
      failure ??= interrupted(position.epoch);
      wake?.();
    },
  };
  const stop = traffic.listen(namespace, ear);
  const abort = (): void => wake?.();
  signal.addEventListener('abort', abort, { once: true });
  const ticker = setInterval(() => {
    ticked = true;
    wake?.();
  }, PROGRESS_MS);
  try {
    let revision = traffic.revision(namespace);
    yield create(WatchMessagesResponseSchema, { revision });
    while (!signal.aborted) {
      if (queue.length > 0) {
        const traces = await take(queue, namespace, store);
        // Of the commit of the last one there may be more; what was kept back has no revision.
        const seen = queue.length === 0 ? traffic.revision(namespace) : (traces.at(-1)?.revision ?? 0n) - 1n;
        if (seen > revision) revision = seen;
        yield create(WatchMessagesResponseSchema, { traces, revision });
        continue;
      }
      if (failure !== undefined) throw failure;
      if (ticked) {
        ticked = false;
        revision = traffic.revision(namespace);
        yield create(WatchMessagesResponseSchema, { revision });
        continue;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      wake = undefined;
    }
  } finally {
    clearInterval(ticker);
    signal.removeEventListener('abort', abort);
    stop();
  }
}

/** Takes the next traces off the queue, with their payloads where those are wanted. */
async function take(queue: Heard[], namespace: string, store: Store): Promise<MessageTrace[]> {
  const traces: MessageTrace[] = [];
  let bytes = 0;
  while (traces.length < MAX_TRACES && bytes < MAX_DATA_BYTES) {
    const heard = queue.shift();
    if (heard === undefined) break;
    const { trace, record } = heard;
    const data = record && (await dataOf(record, namespace, store));
    // Other watchers have the same trace.
    traces.push(data === undefined ? trace : Object.assign(create(MessageTraceSchema), trace, { data }));
    if (data !== undefined) bytes += trace.bytes;
  }
  return traces;
}

async function dataOf({ item, payloadKey }: DeliveryRecord, namespace: string, store: Store) {
  if (payloadKey === '') return item.case === 'message' ? item.value.data : undefined;
  try {
    const entry = await store.get(namespace, payloadKey);
    return entry && decodePayload(entry.value);
  } catch (error) {
    // A trace without its payload is better than none.
    if (error instanceof StoreUnavailableError) return undefined;
    throw error;
  }
}

const isStored = ({ step }: MessageTrace): boolean =>
  step === MessageTrace_Step.STORED || step === MessageTrace_Step.REROUTED;

/** Which traces a request asks for. */
export function compileTraceFilter(request: WatchMessagesRequest): (trace: MessageTrace) => boolean {
  const agents = new Set(request.agentIds);
  const senders = new Set(request.senders);
  const receivers = new Set(request.receivers);
  const topics = new Set(request.topics);
  const steps = new Set<MessageTrace_Step>(request.steps);
  const types = new Set(request.types.filter((type) => !type.endsWith('*')));
  const prefixes = request.types.filter((type) => type.endsWith('*')).map((type) => type.slice(0, -1));
  return ({ step, source, agentId, fromAgentId, type, target }) => {
    if (steps.size > 0 && !steps.has(step)) return false;
    if (agents.size > 0 && ![source, agentId, fromAgentId].some((id) => agents.has(id))) return false;
    if (senders.size > 0 && !senders.has(source)) return false;
    if (receivers.size > 0 && !receivers.has(agentId) && !receivers.has(fromAgentId)) return false;
    if (request.types.length > 0 && !types.has(type) && !prefixes.some((prefix) => type.startsWith(prefix)))
      return false;
    if (topics.size === 0) return true;
    const topic = target.startsWith(TOPIC) ? target.slice(TOPIC.length) : undefined;
    return topic !== undefined && patternsOf(topic).some((pattern) => topics.has(pattern));
  };
}

const TOPIC = 'topic:';

const interrupted = (epoch: bigint): DomainError =>
  new DomainError({
    reason: ErrorReason.CURSOR_EPOCH,
    message: `the store was read anew (its epoch is ${epoch}): traffic may have been missed; watch again`,
  });

const slowConsumer = (buffer: number): DomainError =>
  new DomainError({
    reason: ErrorReason.SLOW_CONSUMER,
    message: `the watcher is more than ${buffer} steps behind; watch again, with narrower filters`,
    retryAfterMs: 1000,
  });
