import { create, type DescMessage, type JsonValue, type MessageInitShape, toJson } from '@bufbuild/protobuf';
import { type Code as ConnectCode, ConnectError } from '@connectrpc/connect';
import { encode } from '../lib/encode.ts';
import { codeName } from './codes.ts';
import { type RpcError, reasonHeader, retryHeader } from './errors.ts';

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

/** An error as the Connect protocol writes it in JSON, for responses that its handlers do not make. */
export function connectErrorObject(error: RpcError): { code: string; message: string; details: JsonValue[] } {
  const details = error.details.map(({ desc, value }) => {
    const message = create(desc, value as MessageInitShape<DescMessage>);
    return {
      type: desc.typeName,
      value: Buffer.from(encode(desc, message)).toString('base64').replace(/=+$/, ''),
      debug: toJson(desc, message),
    };
  });
  const code = codeName(error.code).toLowerCase().replace('cancelled', 'canceled');
  return { code, message: error.message, details };
}

/** The same as a response body. */
export function connectErrorJson(error: RpcError): Uint8Array {
  return Buffer.from(JSON.stringify(connectErrorObject(error)));
}
