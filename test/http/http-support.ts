import { type HttpListenerOptions, startHttpListener } from '../../src/http/server.ts';
import type { Rejection } from '../../src/lib/listener.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { type FakePipeline, fakePipeline, type Services } from '../rpc/fakes.ts';

export async function startHttp(
  services: Services,
  overrides: Partial<HttpListenerOptions['config']> &
    Partial<Omit<HttpListenerOptions, 'config' | 'pipeline' | 'services'>> & { fake?: FakePipeline } = {},
) {
  const fake = overrides.fake ?? fakePipeline();
  const rejected: Rejection[] = [];
  const { maxConnections, maxConnectionsPerAddress, helloTimeoutMs, tls, listen, ...rest } = overrides;
  const state = { ready: true };
  const listener = await startHttpListener({
    config: {
      listen: listen ?? '127.0.0.1:0',
      maxConnections: maxConnections ?? 100,
      maxConnectionsPerAddress: maxConnectionsPerAddress ?? 100,
      helloTimeoutMs: helloTimeoutMs ?? 5_000,
      tls,
    },
    pipeline: fake.pipeline,
    services,
    maxMessageBytes: 1_048_576,
    pages: {
      name: 'Test <orchestrator>',
      version: '1.2.3',
      metrics: async () => ({ contentType: 'text/plain; version=0.0.4', body: 'up 1\n' }),
      readiness: () => ({ ready: state.ready, parts: { store: { available: true } } }),
    },
    drainTimeoutMs: 1_000,
    log: silentLogger,
    onRejected: (reason) => rejected.push(reason),
    sweepMs: 20,
    ...rest,
  });
  const { port } = listener.address;
  return { ...fake, state, listener, rejected, port, url: `http://127.0.0.1:${port}` };
}

export interface ConnectFailure {
  status: number;
  code: string;
  message: string;
  reason: string | null;
  details: { type: string; debug: { reason?: string; fieldViolations?: unknown[]; retryDelay?: string } }[];
}

/** A call with Connect's JSON, as curl makes it. */
export async function postJson(
  url: string,
  method: string,
  body: string,
  headers: Record<string, string> = {},
) {
  return fetch(`${url}/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  });
}

export async function failureOf(response: Response): Promise<ConnectFailure> {
  const body = (await response.json()) as Omit<ConnectFailure, 'status' | 'reason'>;
  return { ...body, status: response.status, reason: response.headers.get('error-reason') };
}
