import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  HealthCheckRequestSchema,
  HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../../../gen/health/v1/health_pb.ts';
import type { Probe, ProbeOutcome } from '../../domain/monitoring/services/ports.ts';
import type { TlsTrust } from './http.ts';
import { addressOf, open } from './tcp.ts';
import { connectionWords } from './wording.ts';

/** An answer has a dozen bytes. */
const MAX_ANSWER_BYTES = 4096;
const CHECK = '/grpc.health.v1.Health/Check';
const UNIMPLEMENTED = 12;
const NOT_FOUND = 5;

/** Asks the standard health service (grpc.health.v1.Health/Check). */
export function grpcProbe(trust: TlsTrust = {}): Probe {
  return async (service, signal) => {
    const [, scheme = '', address = service.target, name = ''] =
      /^(grpcs?):\/\/([^/]*)(?:\/(.*))?$/i.exec(service.target) ?? [];
    const tls = scheme.toLowerCase() === 'grpcs';
    const startMs = performance.now();
    let session: ClientHttp2Session | undefined;
    try {
      const socket = await open(addressOf(address), signal, tls ? { ...trust, alpn: ['h2'] } : undefined);
      session = connect(`${tls ? 'https' : 'http'}://${address}`, { createConnection: () => socket });
      session.on('error', () => {});
      const { status, body } = await check(session, name, signal);
      if (status !== 0) return { ok: false, detail: statusWords(status) };
      return judged(body, performance.now() - startMs);
    } catch (error) {
      return { ok: false, detail: error === NO_GRPC ? 'does not speak gRPC' : connectionWords(error) };
    } finally {
      session?.destroy();
    }
  };
}

const NO_GRPC = new Error('no gRPC');

function check(
  session: ClientHttp2Session,
  name: string,
  signal: AbortSignal,
): Promise<{ status: number; body: Buffer }> {
  return new Promise((resolve, reject) => {
    session.once('error', reject);
    session.once('close', () => reject(Object.assign(new Error('closed'), { code: 'ECONNRESET' })));
    const stream = session.request(
      {
        ':method': 'POST',
        ':path': CHECK,
        'content-type': 'application/grpc',
        te: 'trailers',
        'user-agent': 'mycosoft-orchestrator',
      },
      { signal },
    );
    const chunks: Buffer[] = [];
    let bytes = 0;
    let status: number | undefined;
    const take = (headers: IncomingHttpHeaders): void => {
      const text = headers['grpc-status'];
      if (typeof text === 'string' && /^\d{1,2}$/.test(text)) status = Number(text);
    };
    stream.on('response', (headers) => {
      if (headers[':status'] !== 200 || !/^application\/grpc\b/.test(String(headers['content-type']))) {
        reject(NO_GRPC);
      }
      take(headers);
    });
    stream.on('trailers', take);
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES) reject(NO_GRPC);
      else chunks.push(chunk);
    });
    stream.on('error', reject);
    stream.on('end', () => {
      if (status === undefined) reject(NO_GRPC);
      else resolve({ status, body: Buffer.concat(chunks) });
    });
    const request = toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, { service: name }));
    const frame = Buffer.alloc(5 + request.length);
    frame.writeUInt32BE(request.length, 1);
    frame.set(request, 5);
    stream.end(frame);
  });
}

function statusWords(status: number): string {
  if (status === UNIMPLEMENTED) return 'has no health service';
  if (status === NOT_FOUND) return 'does not know the service that was asked for';
  return `answered with gRPC status ${status}`;
}

function judged(body: Buffer, latencyMs: number): ProbeOutcome {
  const length = body.length < 5 ? -1 : body.readUInt32BE(1);
  // The first byte is the compression, which was not offered.
  if (body[0] !== 0 || length !== body.length - 5) return { ok: false, detail: 'does not speak gRPC' };
  let status: ServingStatus;
  try {
    status = fromBinary(HealthCheckResponseSchema, body.subarray(5)).status;
  } catch {
    return { ok: false, detail: 'does not speak gRPC' };
  }
  if (status === ServingStatus.SERVING) return { ok: true, latencyMs };
  if (status === ServingStatus.NOT_SERVING) return { ok: false, detail: 'says that it is not serving' };
  return { ok: false, detail: 'does not know the service that was asked for' };
}
