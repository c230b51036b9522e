import { create, type JsonObject, toJson } from '@bufbuild/protobuf';
import {
  type Message,
  type SendMessage,
  SendMessageSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  MessageService,
  type SendMessageRequest,
  SendMessageRequestSchema,
  type SendMessageResponse,
  SendMessageResponseSchema,
} from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { DomainError, type FieldViolation } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { ActiveCall } from '../rpc/active-call.ts';
import { connectErrorObject } from '../rpc/connect-errors.ts';
import type { NodeRequest, NodeResponse } from '../rpc/connect-response.ts';
import type { RpcError } from '../rpc/errors.ts';
import { invalidFields } from '../rpc/interceptors/validation.ts';
import { CallFailure, type Pipeline } from '../rpc/pipeline.ts';
import type { CallContext, ServiceBinding, UnaryHandler } from '../rpc/service.ts';
import { type EventMode, modeOf, readEvents } from './cloud-events.ts';
import { httpStatus } from './http-status.ts';
import { readBody } from './read-body.ts';
import { write } from './write-page.ts';

/** W3C trace context of a request. */
export interface TraceHeaders {
  traceparent: string;
  tracestate: string;
}

export interface EventsOptions {
  /** As SendMessage; `trace` is for an event that brings no context of its own. */
  send(
    request: SendMessageRequest,
    context: CallContext,
    trace: TraceHeaders | undefined,
  ): Promise<SendMessageResponse>;
  /** What is wrong with a request. The pipeline asks the same of each; of a batch all are asked before the first is sent. */
  validate(request: SendMessageRequest): readonly FieldViolation[];
}

export interface EventsRouteOptions extends EventsOptions {
  pipeline: Pipeline;
  services: readonly ServiceBinding[];
  maxMessageBytes: number;
  log: Logger;
}

/** Where events are taken. */
export const EVENTS_PATH = '/events';
/** The extension that names the target; it goes no further. */
const TARGET = 'orchestratorto';
const QUERY: ReadonlySet<string> = new Set(['to', 'namespace', 'session_epoch']);
const METHOD = MessageService.method.sendMessage;

type Result = { response: SendMessageResponse; error?: undefined } | { error: RpcError };

/** Takes CloudEvents over HTTP: each is a call of SendMessage, with all that the pipeline does around one. */
export function createEventsRoute(
  options: EventsRouteOptions,
): (request: NodeRequest, response: NodeResponse) => void {
  return (request, response) => {
    serve(options, request, response).catch((error: unknown) => {
      options.log.debug({ err: error }, 'a request with events could not be answered');
      response.destroy();
    });
  };
}

async function serve(options: EventsRouteOptions, request: NodeRequest, response: NodeResponse) {
  const { pipeline } = options;
  // One listener, however many events a batch has.
  let current: ActiveCall | undefined;
  response.once('close', () => current?.leave());
  const begin = () => {
    const { remoteAddress, remotePort } = request.socket;
    current = pipeline.begin(
      {
        method: METHOD,
        protocol: 'connect',
        listener: 'http',
        peer: `${remoteAddress ?? 'unknown'}:${remotePort ?? 0}`,
        header: (name) => headerOf(request, name),
      },
      undefined,
    );
    return current;
  };
  let mode: EventMode;
  let sends: SendMessageRequest[];
  try {
    mode = modeFor(request);
    const body = await readBody(request, options.maxMessageBytes);
    if (body === undefined) return;
    sends = requestsOf(mode, request, body);
    if (mode === 'batch') checkAll(sends, options);
  } catch (error) {
    return refuse(request, response, pipeline.fail(begin(), error));
  }
  const handle = handlerOf(options, traceOf(request));
  const authorization = headerOf(request, 'authorization');
  const results: Result[] = [];
  for (const send of sends) {
    try {
      // One after the other: events of one batch keep their order.
      const stored = await pipeline.unary(begin(), handle, authorization, () => send);
      results.push({ response: stored as SendMessageResponse });
    } catch (error) {
      if (!(error instanceof CallFailure)) throw error;
      results.push({ error: error.mapped });
    }
  }
  const [first] = results;
  if (mode === 'batch') return answerBatch(request, response, results);
  if (first?.error !== undefined) return refuse(request, response, first.error);
  if (first !== undefined) answer(request, response, 202, shown(first.response));
}

/** Where the part is turned off, its handler refuses; else ours, which knows of the request's headers. */
function handlerOf({ services, send }: EventsRouteOptions, trace: TraceHeaders | undefined): UnaryHandler {
  const binding = services.find(({ service }) => service.typeName === MessageService.typeName);
  const handler = binding?.handlers.find(({ method }) => method.name === METHOD.name);
  if (binding?.gated === true && handler?.kind === 'unary') return handler.handle;
  return (message, context) => send(message as SendMessageRequest, context, trace);
}

function modeFor(request: NodeRequest): EventMode {
  const encoding = headerOf(request, 'content-encoding') ?? 'identity';
  const mode = modeOf(request.headers);
  if (mode !== undefined && encoding === 'identity') return mode;
  const message =
    mode === undefined
      ? 'of the formats of CloudEvents, application/cloudevents+json and application/cloudevents-batch+json are served, in UTF-8'
      : 'a content-encoding is not served: send the body as it is';
  throw new DomainError({ reason: ErrorReason.MALFORMED_MESSAGE, message });
}

/** @throws DomainError MALFORMED_MESSAGE, INVALID_FIELDS */
function requestsOf(mode: EventMode, request: NodeRequest, body: Buffer): SendMessageRequest[] {
  const url = request.url ?? '';
  const query = new URLSearchParams(url.includes('?') ? url.slice(url.indexOf('?') + 1) : '');
  const violations: FieldViolation[] = [];
  for (const name of new Set(query.keys())) {
    if (!QUERY.has(name))
      violations.push({
        field: name.slice(0, 64),
        description: `is no parameter: ${[...QUERY].join(', ')} are`,
      });
    else if (query.getAll(name).length > 1) violations.push({ field: name, description: 'is given twice' });
  }
  const epoch = query.get('session_epoch') ?? '0';
  if (!/^\d{1,19}$/.test(epoch))
    violations.push({ field: 'session_epoch', description: 'must be a whole number' });
  if (violations.length > 0) throw invalidFields(violations);
  const namespace = query.get('namespace') ?? '';
  return readEvents(mode, request.headers, body).map((message, index) => {
    const at = mode === 'batch' ? `events[${index}].` : '';
    const send = sendOf(message, query.get('to') ?? undefined, at);
    return create(SendMessageRequestSchema, { namespace, send, sessionEpoch: BigInt(epoch) });
  });
}

const CASES = { agent: 'agentId', capability: 'capability', topic: 'topic', selector: 'selector' } as const;

/** The query says for whom; else the event's own extension. */
function sendOf(message: Message, query: string | undefined, at: string): SendMessage {
  const own = message.extensions[TARGET];
  delete message.extensions[TARGET];
  const text = query ?? own;
  const field = query === undefined ? `${at}${TARGET}` : 'to';
  const how = 'agent:ID, capability:NAME, topic:TOPIC or selector:SELECTOR';
  if (text === undefined) {
    const description = `must say for whom: ${how}; or the event has the extension ${TARGET}`;
    throw invalidFields([{ field: 'to', description }]);
  }
  const [, kind = '', value = ''] = /^(agent|capability|topic|selector):(.+)$/s.exec(text) ?? [];
  const known = CASES[kind as keyof typeof CASES] as (typeof CASES)[keyof typeof CASES] | undefined;
  if (known === undefined) throw invalidFields([{ field, description: `must be ${how}` }]);
  return create(SendMessageSchema, { message, to: { case: known, value } });
}

/** Before the first one is sent. @throws DomainError INVALID_FIELDS */
function checkAll(sends: readonly SendMessageRequest[], { validate }: EventsOptions): void {
  const violations = sends.flatMap((send, index) =>
    validate(send).map(({ field, description }) => ({ field: `events[${index}].${field}`, description })),
  );
  if (violations.length > 0) throw invalidFields(violations);
}

/** Each event by itself: what was refused can be sent again alone, or with the rest, which are then repetitions. */
function answerBatch(request: NodeRequest, response: NodeResponse, results: readonly Result[]): void {
  const refused = results.filter(({ error }) => error !== undefined).length;
  answer(request, response, refused === 0 ? 202 : 207, {
    accepted: results.length - refused,
    refused,
    results: results.map((result) =>
      result.error === undefined ? shown(result.response) : { error: errorObject(result.error) },
    ),
  });
}

function shown(response: SendMessageResponse): JsonObject {
  const options = { useProtoFieldName: true, alwaysEmitImplicit: true };
  return toJson(SendMessageResponseSchema, response, options) as JsonObject;
}

const errorObject = (error: RpcError): JsonObject => ({
  ...connectErrorObject(error),
  reason: error.reason,
  ...(error.retryAfterMs === undefined ? {} : { retry_after_ms: error.retryAfterMs }),
});

function answer(request: NodeRequest, response: NodeResponse, status: number, body: JsonObject): void {
  write(request, response, { status, contentType: 'application/json', body: JSON.stringify(body) });
}

/** As the other routes answer: the error of the Connect protocol. */
function refuse(request: NodeRequest, response: NodeResponse, error: RpcError): void {
  const { reason, retryAfterMs } = error;
  const retry =
    retryAfterMs === undefined
      ? {}
      : { 'retry-after': `${Math.ceil(retryAfterMs / 1000)}`, 'retry-after-ms': `${retryAfterMs}` };
  // What is left of a body that was not read ends the connection.
  const close = request.complete || request.httpVersionMajor > 1 ? {} : { connection: 'close' };
  write(request, response, {
    status: httpStatus(error),
    contentType: 'application/json',
    body: JSON.stringify(connectErrorObject(error)),
    headers: { 'error-reason': reason, ...retry, ...close },
  });
}

function traceOf(request: NodeRequest): TraceHeaders | undefined {
  const traceparent = headerOf(request, 'traceparent');
  if (traceparent === undefined) return undefined;
  return { traceparent, tracestate: headerOf(request, 'tracestate') ?? '' };
}

function headerOf(request: NodeRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}
