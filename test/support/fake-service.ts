import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type ServerHttp2Session,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { Agent } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  AgentService,
  ListAgentsResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { FleetOperationService } from '../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { LockService } from '../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import { MessageService } from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { StateService } from '../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import { TaskService } from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { AlertService } from '../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import {
  type Event,
  MonitoringService,
  type SystemStatus,
} from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { ResourceService } from '../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';

export interface FakeServiceOptions {
  agents?: readonly Agent[];
  /** Newest first. */
  events?: readonly Event[];
  status?: SystemStatus;
  /** PEM; with TLS. */
  tls?: { cert: string; key: string };
  /** Methods that answer otherwise. */
  agent?: Partial<ServiceImpl<typeof AgentService>>;
  monitoring?: Partial<ServiceImpl<typeof MonitoringService>>;
  alerts?: Partial<ServiceImpl<typeof AlertService>>;
  state?: Partial<ServiceImpl<typeof StateService>>;
  locks?: Partial<ServiceImpl<typeof LockService>>;
  operations?: Partial<ServiceImpl<typeof FleetOperationService>>;
  messages?: Partial<ServiceImpl<typeof MessageService>>;
  tasks?: Partial<ServiceImpl<typeof TaskService>>;
  resources?: Partial<ServiceImpl<typeof ResourceService>>;
}

export interface FakeService {
  /** "host:port" */
  readonly address: string;
  /** Cuts every connection without a word. */
  cut(): void;
  close(): Promise<void>;
}

/** A gRPC server on a free port of loopback that answers from lists in memory; pages hold two entries at most. */
export async function startFakeService(options: FakeServiceOptions = {}): Promise<FakeService> {
  const agents = options.agents ?? [];
  const events = options.events ?? [];
  const handler = connectNodeAdapter({
    routes: (router) => {
      router.service(AgentService, {
        getAgent: ({ agentId }) => ({ agent: find(agents, agentId), revision: 7n }),
        listAgents: ({ pageSize, pageToken }) => {
          const start = Number(pageToken || '0');
          const end = start + Math.min(2, pageSize || 100);
          return create(ListAgentsResponseSchema, {
            agents: agents.slice(start, end),
            nextPageToken: end < agents.length ? String(end) : '',
            revision: 7n,
            totalSize: agents.length,
          });
        },
        explainAgent: ({ agentId }) => ({ agent: find(agents, agentId), summary: 'nothing to say' }),
        deregisterAgent: ({ agentId }) => ({ agent: find(agents, agentId), revision: 8n }),
        ...options.agent,
      });
      router.service(AlertService, options.alerts ?? {});
      router.service(StateService, options.state ?? {});
      router.service(LockService, options.locks ?? {});
      router.service(FleetOperationService, options.operations ?? {});
      router.service(MessageService, options.messages ?? {});
      router.service(TaskService, options.tasks ?? {});
      router.service(ResourceService, options.resources ?? {});
      router.service(MonitoringService, {
        getSystemStatus: () => ({ ...(options.status && { status: options.status }) }),
        listEvents: ({ pageSize, pageToken }) => {
          const start = Number(pageToken || '0');
          const end = start + Math.min(2, pageSize || 100);
          return {
            events: events.slice(start, end),
            nextPageToken: end < events.length ? String(end) : '',
          };
        },
        ...options.monitoring,
      });
    },
  });
  const server: Http2Server | Http2SecureServer =
    options.tls === undefined ? createServer(handler) : createSecureServer(options.tls, handler);
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session: ServerHttp2Session) => {
    sessions.add(session);
    session.on('error', () => {});
    session.on('close', () => sessions.delete(session));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const cut = () => {
    for (const session of sessions) session.destroy();
  };
  return {
    address: `127.0.0.1:${port}`,
    cut,
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      cut();
      return closed;
    },
  };
}

function find(agents: readonly Agent[], id: string): Agent {
  const agent = agents.find((candidate) => candidate.id === id);
  if (agent === undefined) throw new ConnectError(`there is no agent "${id}"`, Code.NotFound);
  return agent;
}

/** Stays open until the caller goes away. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
