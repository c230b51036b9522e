// Everything that speaks to the service: it decodes off the page's own thread, which stays free to answer whoever looks.
import type { DescMethodUnary } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-web';
import { AgentService } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { FleetOperationService } from '../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { MessageService } from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { TaskService } from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { AlertService } from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import { MonitoringService } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { ResourceService } from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { harmless, harmlessText } from '../lib/harmless.ts';
import { LiveStream } from './live-stream.ts';
import type { CallError, FromWorker, Services, ToWorker } from './protocol.ts';

/** The little of a worker's surroundings that is used; the types of the page's are loaded everywhere. */
interface Surroundings {
  postMessage(message: FromWorker): void;
  addEventListener(type: 'message', listener: (event: { data: ToWorker }) => void): void;
  location: { href: string };
}

const page = self as unknown as Surroundings;
const services: Services = {
  AgentService,
  AlertService,
  FleetOperationService,
  MessageService,
  MonitoringService,
  ResourceService,
  TaskService,
};

/** The script is in assets/ below the page. */
const baseUrl = new URL('..', page.location.href).href.replace(/\/$/, '');
const transport: Transport = createConnectTransport({ baseUrl, useBinaryFormat: true });
const live = new LiveStream({
  open: (request, signal) => createClient(MonitoringService, transport).watchLive(request, { signal }),
  post: (message) => page.postMessage(message),
});
const calls = new Map<number, AbortController>();
const CALL_TIMEOUT_MS = 20_000;

page.addEventListener('message', ({ data }) => {
  if (data.kind === 'watch') live.watch(data.watch, data.spec);
  else if (data.kind === 'retry') live.retry();
  else if (data.kind === 'cancel') calls.get(data.id)?.abort();
  else void call(data);
});

async function call({ id, service, method, request }: Extract<ToWorker, { kind: 'call' }>): Promise<void> {
  const ending = new AbortController();
  calls.set(id, ending);
  try {
    const methods = services[service].method as unknown as Record<string, DescMethodUnary>;
    const called = methods[method];
    if (called === undefined) throw new ConnectError(`there is no ${service}.${method}`, Code.Unimplemented);
    const answer = await transport.unary(
      called,
      ending.signal,
      CALL_TIMEOUT_MS,
      undefined,
      request as Record<string, never>,
    );
    page.postMessage({ kind: 'answer', id, response: harmless(answer.message) });
  } catch (error) {
    page.postMessage({ kind: 'failure', id, error: callError(error) });
  } finally {
    calls.delete(id);
  }
}

function callError(error: unknown): CallError {
  const known = ConnectError.from(error);
  const reason = (known.metadata.get('error-reason') ?? '').replace(/^ERROR_REASON_/, '');
  return {
    code: Code[known.code]?.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toLowerCase() ?? 'unknown',
    reason: harmlessText(reason),
    message: harmlessText(known.rawMessage),
  };
}
