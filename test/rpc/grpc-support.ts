import { connect } from 'node:http2';
import {
  create,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { type Status, StatusSchema } from '../../gen/google/rpc/status_pb.ts';
import type { Rejection } from '../../src/lib/listener.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { type GrpcListenerOptions, startGrpcListener } from '../../src/rpc/grpc.ts';
import { type FakePipeline, fakePipeline, type Services } from './fakes.ts';

export async function startGrpc(
  services: Services,
  overrides: Partial<GrpcListenerOptions['config']> &
    Partial<Omit<GrpcListenerOptions, 'config' | 'pipeline'>> & { fake?: FakePipeline } = {},
) {
  const fake = overrides.fake ?? fakePipeline();
  const rejected: Rejection[] = [];
  const {
    maxConnections,
    maxConnectionsPerAddress,
    helloTimeoutMs,
    tls,
    listen,
    maxStreamsPerConnection,
    ...rest
  } = overrides;
  const listener = await startGrpcListener({
    config: {
      listen: listen ?? '127.0.0.1:0',
      maxConnections: maxConnections ?? 100,
      maxConnectionsPerAddress: maxConnectionsPerAddress ?? 100,
      helloTimeoutMs: helloTimeoutMs ?? 5_000,
      maxStreamsPerConnection: maxStreamsPerConnection ?? 100,
      tls,
    },
    maxMessageBytes: 1_048_576,
    drainTimeoutMs: 1_000,
    services,
    pipeline: fake.pipeline,
    log: silentLogger,
    onRejected: (reason) => rejected.push(reason),
    sweepMs: 20,
    ...rest,
  });
  const target = `127.0.0.1:${listener.address.port}`;
  return { ...fake, listener, rejected, target, port: listener.address.port };
}

export type GrpcClient = ReturnType<typeof grpcClient>;

/** A thin grpc-js client over bytes, so that tests can also send what no generated client would. */
export function grpcClient(target: string, creds = credentials.createInsecure(), channel: object = {}) {
  const client = new Client(target, creds, channel);
  const raw = (bytes: Buffer | Uint8Array) => Buffer.from(bytes);
  const path = (method: { parent: { typeName: string }; name: string }) =>
    `/${method.parent.typeName}/${method.name}`;
  return {
    client,
    unary: <M extends DescMethodUnary>(
      method: M,
      request: MessageInitShape<M['input']> | Uint8Array,
      options: { metadata?: Record<string, string>; deadlineMs?: number } = {},
    ) =>
      new Promise<MessageShape<M['output']>>((resolve, reject) => {
        const bytes =
          request instanceof Uint8Array
            ? request
            : toBinary(method.input, create(method.input, request) as never);
        const metadata = new Metadata();
        for (const [key, value] of Object.entries(options.metadata ?? {})) metadata.set(key, value);
        const deadline =
          options.deadlineMs === undefined ? {} : { deadline: Date.now() + options.deadlineMs };
        client.makeUnaryRequest(
          path(method),
          raw,
          raw,
          Buffer.from(bytes),
          metadata,
          deadline,
          (error, response) => {
            if (error !== null) reject(error);
            else
              resolve(fromBinary(method.output, response ?? new Uint8Array()) as MessageShape<M['output']>);
          },
        );
      }),
    serverStream: (method: { parent: { typeName: string }; name: string }, request: Uint8Array) =>
      client.makeServerStreamRequest(path(method), raw, raw, Buffer.from(request)),
    bidi: (method: { parent: { typeName: string }; name: string }, metadata = new Metadata()) =>
      client.makeBidiStreamRequest(path(method), raw, raw, metadata),
    close: () => client.close(),
  };
}

/** The standard details of an error. */
export function detailsOf(error: unknown): {
  status: Status;
  reason: string;
  metadata: Record<string, string>;
} {
  const bytes = (error as ServiceError).metadata.get('grpc-status-details-bin')[0];
  if (!(bytes instanceof Uint8Array)) throw new Error(`no details in ${String(error)}`);
  const status = fromBinary(StatusSchema, bytes);
  const [first] = status.details;
  const info = first === undefined ? undefined : anyUnpack(first, ErrorInfoSchema);
  if (info === undefined) throw new Error('no ErrorInfo');
  return { status, reason: info.reason, metadata: info.metadata };
}

/** One gRPC message in its frame. */
export function framed(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.byteLength, 1);
  return Buffer.concat([head, message]);
}

/** A call by bare node:http2: reads nothing unless a test listens to 'data'. (grpc-js's client reads ahead, always.) */
export function rawGrpcStream(
  target: string,
  method: { parent: { typeName: string }; name: string },
  messages: readonly Uint8Array[] = [],
) {
  const session = connect(`http://${target}`);
  session.on('error', () => {});
  const request = session.request({
    ':method': 'POST',
    ':path': `/${method.parent.typeName}/${method.name}`,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  request.on('error', () => {});
  for (const message of messages) request.write(framed(message));
  return { session, request, close: () => session.destroy() };
}
