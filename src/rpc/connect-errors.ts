import {
  create,
  type DescMessage,
  type JsonValue,
  type MessageInitShape,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { type Code as ConnectCode, ConnectError } from '@connectrpc/connect';
import type { UniversalServerResponse } from '@connectrpc/connect/protocol';
import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { Code, codeName } from './codes.ts';
import { describeRefusal, type RpcError, reasonHeader, retryHeader } from './errors.ts';

/** An error for Connect's handlers, which put it on the wire for Connect, gRPC-Web and gRPC. */
export function connectError(error: RpcError): ConnectError {
  const metadata = new Headers({ [reasonHeader]: error.reason });
  if (error.retryAfterMs !== undefined) metadata.set(retryHeader, String(error.retryAfterMs));
  const details = error.details.map(({ desc, value }) => ({
    desc,
    value: value as MessageInitShape<DescMessage>,
  }));
  // Connect's codes have gRPC's numbers.
  return new ConnectError(error.message, error.code as number as ConnectCode, metadata, details as never);
}

/** The JSON body of an error in the Connect protocol, for responses that its handlers do not make. */
export function connectErrorJson(error: RpcError): Uint8Array {
  const details = error.details.map(({ desc, value }) => {
    const message = create(desc, value as MessageInitShape<DescMessage>);
    return {
      type: desc.typeName,
      value: Buffer.from(toBinary(desc, message)).toString('base64').replace(/=+$/, ''),
      debug: toJson(desc, message) as JsonValue,
    };
  });
  const code = codeName(error.code).toLowerCase().replace('cancelled', 'canceled');
  return Buffer.from(JSON.stringify({ code, message: error.message, details }));
}

/** What Connect's handlers refuse before a method of ours runs, by their code, as one of our reasons. */
const reasons: Record<string, ErrorReason> = {
  invalid_argument: ErrorReason.MALFORMED_MESSAGE,
  resource_exhausted: ErrorReason.MESSAGE_TOO_LARGE,
  unimplemented: ErrorReason.METHOD_NOT_SERVED,
  deadline_exceeded: ErrorReason.DEADLINE_EXCEEDED,
  canceled: ErrorReason.CANCELLED,
};

/** HTTP statuses that Connect's handlers send with an empty body. */
const refusals: Record<number, string> = {
  405: 'RPCs are called with POST',
  415: 'unknown content type: use application/json, application/proto or a gRPC-Web type',
  505: 'bidirectional streams need HTTP/2; over HTTP/1.1 use PollSession instead of OpenSession',
};

/**
 * Gives the errors that Connect's own handlers make (malformed JSON, unknown fields, oversize, wrong content type)
 * an ErrorInfo and our headers too. Only unary Connect errors and empty refusals: elsewhere the error is inside the
 * stream, where it has the right code and no details.
 */
export async function explainResponse(response: UniversalServerResponse): Promise<UniversalServerResponse> {
  const { status, header } = response;
  const refusal = refusals[status];
  if (refusal !== undefined && response.body === undefined) {
    return withError(response, describeRefusal({ reason: ErrorReason.METHOD_NOT_SERVED, message: refusal }));
  }
  const isError = status >= 400 && header?.get('content-type') === 'application/json';
  if (!isError || header.has(reasonHeader) || header.has('content-encoding')) return response;
  const parsed = parse(await collect(response.body));
  const reason = reasons[parsed.code];
  if (reason === undefined) {
    return withError(
      response,
      describeRefusal({ reason: ErrorReason.INTERNAL, message: 'the call could not be handled' }),
    );
  }
  return withError(response, describeRefusal({ reason, message: parsed.message }));
}

function withError(response: UniversalServerResponse, error: RpcError): UniversalServerResponse {
  const body = connectErrorJson(error);
  const header = new Headers(response.header);
  header.set('content-type', 'application/json');
  header.set('content-length', String(body.byteLength));
  header.set(reasonHeader, error.reason);
  return { ...response, header, body: once(body) };
}

async function* once(body: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield body;
}

async function collect(body: UniversalServerResponse['body']): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body ?? []) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function parse(body: Uint8Array): { code: string; message: string } {
  const error = JSON.parse(Buffer.from(body).toString('utf8')) as { code?: unknown; message?: unknown };
  return { code: String(error.code), message: String(error.message ?? error.code) };
}

/** The status line for gRPC clients that ask for what is not there. */
export const grpcUnimplemented = { 'grpc-status': String(Code.UNIMPLEMENTED) };
