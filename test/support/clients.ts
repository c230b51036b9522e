import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { AgentService } from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { FleetOperationService } from '../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { MessageService } from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { TaskService } from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { AlertService } from '../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import { MonitoringService } from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { ResourceService } from '../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';

export interface Clients {
  agents: Client<typeof AgentService>;
  alerts: Client<typeof AlertService>;
  messages: Client<typeof MessageService>;
  monitoring: Client<typeof MonitoringService>;
  operations: Client<typeof FleetOperationService>;
  tasks: Client<typeof TaskService>;
  resources: Client<typeof ResourceService>;
  close(): void;
}

/** Typed clients over gRPC on one connection of their own. */
export function connectClients(address: string): Clients {
  const baseUrl = `http://${address}`;
  const sessionManager = new Http2SessionManager(baseUrl);
  const transport = createGrpcTransport({ baseUrl, sessionManager });
  return {
    agents: createClient(AgentService, transport),
    alerts: createClient(AlertService, transport),
    messages: createClient(MessageService, transport),
    monitoring: createClient(MonitoringService, transport),
    operations: createClient(FleetOperationService, transport),
    tasks: createClient(TaskService, transport),
    resources: createClient(ResourceService, transport),
    close: () => sessionManager.abort(),
  };
}

/** Metadata of a call made as an agent. */
export function bearer(token: string): { headers: { authorization: string } } {
  return { headers: { authorization: `Bearer ${token}` } };
}

export interface Failure {
  code: string;
  /** From the trailing metadata: the reason without its prefix. */
  reason: string | null;
  message: string;
}

/** What a call that must fail failed with. */
export async function failureOf(call: Promise<unknown>): Promise<Failure> {
  try {
    await call;
  } catch (error) {
    const failure = ConnectError.from(error);
    return {
      code: Code[failure.code],
      reason: failure.metadata.get('error-reason'),
      message: failure.rawMessage,
    };
  }
  throw new Error('the call succeeded');
}

/** Takes responses of a stream until one is accepted; then the stream is closed. */
export async function collect<T>(stream: AsyncIterable<T>, enough: (all: T[]) => boolean): Promise<T[]> {
  const all: T[] = [];
  for await (const response of stream) {
    all.push(response);
    if (enough(all)) return all;
  }
  throw new Error(`the stream ended after ${all.length} responses`);
}
