import type { UniversalServerResponse } from '@connectrpc/connect/protocol';
import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { Code } from './codes.ts';
import { connectErrorJson, connectErrorObject } from './connect-errors.ts';
import { describeRefusal, detailsHeader, encodeStatus, type RpcError, reasonHeader } from './errors.ts';

/*
 * Connect's handlers read and decode a request before a method of ours runs, and refuse what they cannot read: with
 * an error that has no details, and INTERNAL for malformed protobuf. What follows puts our error in its place, in
 * the form of each protocol.
 */

/** HTTP statuses that the handlers send with an empty body. */
const emptyRefusals: Record<number, string> = {
  405: 'RPCs are called with POST',
  415: 'unknown content type: use application/json, application/proto or a gRPC-Web type',
  505: 'bidirectional streams need HTTP/2; over HTTP/1.1 use PollSession instead of OpenSession',
};

const httpStatuses: Partial<Record<Code, number>> = {
  [Code.INVALID_ARGUMENT]: 400,
  [Code.RESOURCE_EXHAUSTED]: 429,
  [Code.DEADLINE_EXCEEDED]: 504,
  [Code.UNIMPLEMENTED]: 501,
};

/** Replaces a refusal by our error for it. `begun`: whether a method of ours took the call; then its answer stands. */
export async function explainRefusal(
  response: UniversalServerResponse,
  begun: () => boolean,
): Promise<UniversalServerResponse> {
  const refusal = emptyRefusals[response.status];
  if (refusal !== undefined && response.body === undefined) {
    const error = describeRefusal({ reason: ErrorReason.METHOD_NOT_SERVED, message: refusal });
    return unary(response, response.status, error);
  }
  if (begun() || response.body === undefined) return response;
  const contentType = response.header?.get('content-type') ?? '';
  const body = await collect(response.body);
  // It can have begun with the reading of its body.
  if (begun()) return { ...response, body: once(body) };
  if (contentType.startsWith('application/grpc-web')) return grpcWeb(response, body);
  if (contentType.startsWith('application/grpc')) return grpc(response);
  if (contentType.startsWith('application/connect+')) return endStream(response, body);
  if (response.status < 400) return { ...response, body: once(body) };
  const error = parse(body);
  const explained = explain(error.code, error.message);
  return unary(response, httpStatuses[explained.code] ?? response.status, explained);
}

function explain(code: string, message: string): RpcError {
  return describeRefusal({ reason: reasonFor(code), message });
}

/** By gRPC's number or Connect's name. An INTERNAL before a method ran is a message that could not be decoded. */
function reasonFor(code: string): ErrorReason {
  switch (code) {
    case 'resource_exhausted':
    case String(Code.RESOURCE_EXHAUSTED):
      return ErrorReason.MESSAGE_TOO_LARGE;
    case 'unimplemented':
    case String(Code.UNIMPLEMENTED):
      return ErrorReason.METHOD_NOT_SERVED;
    case 'deadline_exceeded':
    case String(Code.DEADLINE_EXCEEDED):
      return ErrorReason.DEADLINE_EXCEEDED;
    case 'canceled':
    case String(Code.CANCELLED):
      return ErrorReason.CANCELLED;
    default:
      return ErrorReason.MALFORMED_MESSAGE;
  }
}

function unary(response: UniversalServerResponse, status: number, error: RpcError): UniversalServerResponse {
  const body = connectErrorJson(error);
  const header = new Headers(response.header);
  header.delete('content-encoding');
  header.set('content-type', 'application/json');
  header.set('content-length', String(body.byteLength));
  header.set(reasonHeader, error.reason);
  return { ...response, status, header, body: once(body) };
}

/** gRPC: the status is in the trailers. */
function grpc(response: UniversalServerResponse): UniversalServerResponse {
  const { trailer } = response;
  const code = trailer?.get('grpc-status') ?? '0';
  if (trailer === undefined || code === '0') return response;
  const error = explain(code, decoded(trailer.get('grpc-message')));
  for (const [name, value] of statusFields(error)) trailer.set(name, value);
  return { ...response, body: once(new Uint8Array()) };
}

/** gRPC-Web: the trailers are the last frame of the body, flagged 0x80. */
function grpcWeb(response: UniversalServerResponse, body: Uint8Array): UniversalServerResponse {
  if (body[0] !== 0x80) return { ...response, body: once(body) };
  const lines = Buffer.from(body.subarray(5)).toString('latin1');
  const code = /^grpc-status: *(\d+)/m.exec(lines)?.[1] ?? '0';
  if (code === '0') return { ...response, body: once(body) };
  const error = explain(code, decoded(/^grpc-message: *(.*?)\r?$/m.exec(lines)?.[1] ?? null));
  const fields = statusFields(error).map(([name, value]) => `${name}: ${value}\r\n`);
  return { ...response, body: once(frame(0x80, fields.join(''))) };
}

/** Connect streams: the error is in the last frame of the body, flagged 0x02. */
function endStream(response: UniversalServerResponse, body: Uint8Array): UniversalServerResponse {
  if (body[0] !== 0x02) return { ...response, body: once(body) };
  const end = JSON.parse(Buffer.from(body.subarray(5)).toString('utf8')) as { error?: ErrorJson };
  if (end.error === undefined) return { ...response, body: once(body) };
  const error = explain(String(end.error.code), String(end.error.message ?? ''));
  const metadata = { [reasonHeader]: [error.reason] };
  return {
    ...response,
    body: once(frame(0x02, JSON.stringify({ error: connectErrorObject(error), metadata }))),
  };
}

function statusFields(error: RpcError): [string, string][] {
  return [
    ['grpc-status', String(error.code)],
    ['grpc-message', encodeURIComponent(error.message)],
    [detailsHeader, Buffer.from(encodeStatus(error)).toString('base64').replace(/=+$/, '')],
    [reasonHeader, error.reason],
  ];
}

function frame(flags: number, text: string): Uint8Array {
  const data = Buffer.from(text);
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(data.byteLength, 1);
  return Buffer.concat([head, data]);
}

function decoded(message: string | null): string {
  try {
    return decodeURIComponent(message ?? '');
  } catch {
    return '';
  }
}

async function* once(body: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  if (body.byteLength > 0) yield body;
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

interface ErrorJson {
  code?: unknown;
  message?: unknown;
}

function parse(body: Uint8Array): { code: string; message: string } {
  const error = JSON.parse(Buffer.from(body).toString('utf8')) as ErrorJson;
  return { code: String(error.code), message: String(error.message ?? error.code) };
}
