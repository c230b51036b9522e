import { readFileSync } from 'node:fs';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { AgentService } from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { FleetOperationService } from '../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { LockService } from '../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import { MessageService } from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { StateService } from '../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import { TaskService } from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { AlertService } from '../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import { MonitoringService } from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { ResourceService } from '../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
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
  readonly alerts: Client<typeof AlertService>;
  readonly locks: Client<typeof LockService>;
  readonly messages: Client<typeof MessageService>;
  readonly monitoring: Client<typeof MonitoringService>;
  readonly operations: Client<typeof FleetOperationService>;
  readonly resources: Client<typeof ResourceService>;
  readonly state: Client<typeof StateService>;
  readonly tasks: Client<typeof TaskService>;
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
  const ca = readAuthorities(url, options);
  const sockets = new Set<Socket>();
  // The sockets are opened here, so that close() can end them: the manager's own abort() takes its listeners off a
  // session that is failing at that moment, and the session's error then ends the process (connect-node 2.1.2).
  const createConnection = () => {
    const socket = openSocket(url, ca);
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    return socket;
  };
  const sessions = new Http2SessionManager(url, { pingIntervalMs, pingTimeoutMs }, { createConnection });
  const transport = createGrpcTransport({
    baseUrl: url.origin,
    sessionManager: sessions,
    acceptCompression: [],
    readMaxBytes,
  });
  return {
    address: url.protocol === 'https:' ? url.origin : url.host,
    agents: createClient(AgentService, transport),
    alerts: createClient(AlertService, transport),
    locks: createClient(LockService, transport),
    messages: createClient(MessageService, transport),
    monitoring: createClient(MonitoringService, transport),
    operations: createClient(FleetOperationService, transport),
    resources: createClient(ResourceService, transport),
    state: createClient(StateService, transport),
    tasks: createClient(TaskService, transport),
    close: () => {
      for (const socket of sockets) socket.destroy();
    },
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

function openSocket(url: URL, ca: string | undefined): Socket {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (url.protocol === 'http:') return connectTcp({ host, port: Number(url.port || 80) });
  return connectTls({
    host,
    port: Number(url.port || 443),
    ALPNProtocols: ['h2'],
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === undefined ? {} : { ca }),
  });
}

function readAuthorities(url: URL, { caFile }: ConnectionOptions): string | undefined {
  if (caFile === undefined) return undefined;
  if (url.protocol !== 'https:') throw new UsageError('--ca-file needs a server that begins with https://');
  try {
    return readFileSync(caFile, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    throw new UsageError(`cannot read --ca-file ${caFile}: ${code}`);
  }
}
