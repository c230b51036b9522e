import { readFileSync } from 'node:fs';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { AgentService } from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { MonitoringService } from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { UsageError } from './errors.ts';

export const defaultServer = '127.0.0.1:50051';

export interface ConnectionOptions {
  /** `host:port`, `http://host:port` or `https://host:port` of the gRPC listener. */
  server: string;
  /** PEM file with the authorities to trust instead of the system's; only with https. */
  caFile?: string | undefined;
}

/** Clients over one HTTP/2 connection, which opens with the first call. */
export interface Connection {
  /** As shown to people. */
  readonly address: string;
  readonly agents: Client<typeof AgentService>;
  readonly monitoring: Client<typeof MonitoringService>;
  /** Ends the connection and all that runs on it. */
  close(): void;
}

/** The largest response that is read: a page of 500 agents with very large specs. */
const readMaxBytes = 64 * 1024 * 1024;
/** A watch on a connection that died without a word notices within the sum of both. */
const pingIntervalMs = 10_000;
const pingTimeoutMs = 5_000;

/** Opens nothing yet. Throws UsageError for an address or a file that cannot be used. */
export function createConnection(options: ConnectionOptions): Connection {
  const url = parseServer(options.server);
  const sessions = new Http2SessionManager(url, { pingIntervalMs, pingTimeoutMs }, tlsOptions(url, options));
  const transport = createGrpcTransport({
    baseUrl: url.origin,
    sessionManager: sessions,
    acceptCompression: [],
    readMaxBytes,
  });
  return {
    address: url.protocol === 'https:' ? url.origin : url.host,
    agents: createClient(AgentService, transport),
    monitoring: createClient(MonitoringService, transport),
    close: () => sessions.abort(),
  };
}

/** The URL of a server as people write it. */
export function parseServer(text: string): URL {
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.canParse(withScheme) ? new URL(withScheme) : undefined;
  const bare = url !== undefined && ['', '/'].includes(url.pathname) && url.search === '' && url.hash === '';
  if (url === undefined || !bare || !['http:', 'https:'].includes(url.protocol) || url.hostname === '') {
    throw new UsageError('the server must be host:port, http://host:port or https://host:port');
  }
  if (url.username !== '' || url.password !== '') {
    throw new UsageError('the server must not hold a user or password');
  }
  if (url.port === '' && !/:(80|443)\/?$/.test(text)) url.port = '50051';
  return url;
}

function tlsOptions(url: URL, options: ConnectionOptions): { ca: string } | undefined {
  if (options.caFile === undefined) return undefined;
  if (url.protocol !== 'https:') throw new UsageError('--ca-file needs a server that begins with https://');
  try {
    return { ca: readFileSync(options.caFile, 'utf8') };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    throw new UsageError(`cannot read --ca-file ${options.caFile}: ${code}`);
  }
}
