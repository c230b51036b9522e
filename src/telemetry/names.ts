/**
 * Every span, metric and attribute name. OpenTelemetry's semantic conventions where they have one (a test compares
 * them with the published package), else under `orchestrator.`. Few, and of low cardinality: no agent ids in metrics.
 *
 * Prometheus names are made from these by rule, see `prometheus.ts`.
 */

/** The instrumentation scope. */
export const SCOPE = 'mycosoft.orchestrator';

export const ATTR = {
  rpcSystem: 'rpc.system.name',
  /** "package.Service/Method". */
  rpcMethod: 'rpc.method',
  /** The code's name in capitals on both listeners: "OK", "NOT_FOUND". */
  rpcStatus: 'rpc.response.status_code',
  errorType: 'error.type',
  peerAddress: 'network.peer.address',
  peerPort: 'network.peer.port',
  dbSystem: 'db.system.name',
  dbOperation: 'db.operation.name',
  serviceName: 'service.name',
  serviceVersion: 'service.version',
  serviceInstance: 'service.instance.id',
  hostName: 'host.name',
  processPid: 'process.pid',
  runtimeName: 'process.runtime.name',
  runtimeVersion: 'process.runtime.version',
  exceptionType: 'exception.type',
  exceptionMessage: 'exception.message',
  /** "grpc", "grpc_web" or "connect". */
  rpcProtocol: 'orchestrator.rpc.protocol',
  /** The domain error's reason, "AGENT_NOT_FOUND". */
  rpcReason: 'orchestrator.rpc.reason',
  namespace: 'orchestrator.namespace',
  /** "committed", "conflict" or "repeated". */
  storeOutcome: 'orchestrator.store.outcome',
  messagingSystem: 'messaging.system',
  messagingOperation: 'messaging.operation.name',
  messagingOperationType: 'messaging.operation.type',
  messagingDestination: 'messaging.destination.name',
  /** As the destination, without ids of agents: "agent/{id}", "capability/sum". */
  messagingTemplate: 'messaging.destination.template',
  messageId: 'messaging.message.id',
  eventType: 'cloudevents.event_type',
  eventSource: 'cloudevents.event_source',
  messageReceivers: 'orchestrator.message.receivers',
  agentId: 'orchestrator.agent.id',
  deliveryId: 'orchestrator.delivery.id',
  deliveryTries: 'orchestrator.delivery.tries',
  liveness: 'orchestrator.liveness',
  deliveryOutcome: 'orchestrator.delivery.outcome',
  /** "message", "task" or "command". */
  deliveryItem: 'orchestrator.delivery.item',
  /** "sent", "rerouted", "muted" or "throttled". */
  messageOutcome: 'orchestrator.message.outcome',
  /** "pending", "succeeded"… */
  taskState: 'orchestrator.task.state',
  /** "webhook", "alertmanager", "command" or "log". */
  sinkKind: 'orchestrator.sink.kind',
  /** "sent", "refused" or "failed". */
  sinkOutcome: 'orchestrator.sink.outcome',
  /** "firing" or "acknowledged". */
  alertState: 'orchestrator.alert.state',
  /** "info", "warning" or "critical". */
  alertSeverity: 'orchestrator.alert.severity',
  /** As agents name it: "slots", "gpu". */
  resource: 'orchestrator.resource',
  /** As the configuration names it. */
  service: 'orchestrator.service',
  taskId: 'orchestrator.task.id',
  taskAttempt: 'orchestrator.task.attempt',
  capability: 'orchestrator.capability',
  genAiAgentId: 'gen_ai.agent.id',
  reason: 'orchestrator.reason',
  version: 'version',
} as const;

export const METRIC = {
  rpcDuration: 'rpc.server.call.duration',
  rpcInFlight: 'orchestrator.rpc.in_flight',
  heartbeatRtt: 'orchestrator.session.heartbeat.rtt',
  missedPings: 'orchestrator.session.missed_pings',
  sessions: 'orchestrator.sessions',
  sessionsOpened: 'orchestrator.sessions.opened',
  sessionsClosed: 'orchestrator.sessions.closed',
  sessionsCutOff: 'orchestrator.sessions.cut_off',
  verdicts: 'orchestrator.agent.verdicts',
  deliveries: 'orchestrator.deliveries',
  deliveryLatency: 'orchestrator.delivery.latency',
  messages: 'orchestrator.messages',
  taskWait: 'orchestrator.task.wait',
  taskDuration: 'orchestrator.task.duration',
  tasks: 'orchestrator.tasks',
  agents: 'orchestrator.agents',
  systemLoad: 'orchestrator.system.load',
  agentHealth: 'orchestrator.agent.health',
  resourceUsage: 'orchestrator.resource.usage',
  communicationLatency: 'orchestrator.communication.latency',
  alerts: 'orchestrator.alerts',
  serviceUp: 'orchestrator.service.up',
  sinkSends: 'orchestrator.sink.sends',
  watches: 'orchestrator.watches',
  connectionsRejected: 'orchestrator.connections.rejected',
  storeDuration: 'db.client.operation.duration',
  storeAvailable: 'orchestrator.store.available',
  loopDelayP99: 'nodejs.eventloop.delay.p99',
  loopDelayMax: 'nodejs.eventloop.delay.max',
  stallTime: 'orchestrator.process.stall.time',
  cpuTime: 'process.cpu.time',
  memory: 'process.memory.usage',
  openFiles: 'process.unix.file_descriptor.count',
  uptime: 'process.uptime',
  startTime: 'process.start_time',
  buildInfo: 'orchestrator.build.info',
} as const;

/** Spans of calls are named "package.Service/Method", those of messages "send <destination template>",
 * those of attempts at tasks "task <capability>". */
export const SPAN = { storeCommit: 'store commit', send: 'send', deliver: 'deliver', task: 'task' } as const;

/** Names of google.rpc.Code by number. */
const CODES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;

export function codeName(code: number): string {
  return CODES[code] ?? 'UNKNOWN';
}

/** Codes that are the server's fault, by the conventions for server spans; the others leave the span's status unset. */
export const SERVER_FAULTS: ReadonlySet<string> = new Set([
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
]);

/** How a call came in. */
export type Protocol = 'grpc' | 'grpc_web' | 'connect';

export function rpcSystem(protocol: Protocol): string {
  return protocol === 'connect' ? 'connectrpc' : 'grpc';
}
