import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import type { AgentService } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type { FleetOperationService } from '../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import type { MessageService } from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { TaskService } from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { AlertService } from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import type {
  EventFilterSchema,
  MonitoringService,
  WatchLiveRequest_Part,
  WatchLiveResponse,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { ResourceService } from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { AgentNews } from './agent-row.ts';

/** The services that the page calls. Their descriptors are loaded by the worker alone. */
export interface Services {
  AgentService: typeof AgentService;
  AlertService: typeof AlertService;
  FleetOperationService: typeof FleetOperationService;
  MessageService: typeof MessageService;
  MonitoringService: typeof MonitoringService;
  ResourceService: typeof ResourceService;
  TaskService: typeof TaskService;
}

export type ServiceName = keyof Services;

type Methods<S extends ServiceName> = Services[S]['method'];

/** Names of the unary methods of a service. */
export type UnaryName<S extends ServiceName> = {
  [M in keyof Methods<S>]: Methods<S>[M] extends { methodKind: 'unary' } ? M : never;
}[keyof Methods<S>] &
  string;

export type RequestOf<S extends ServiceName, M extends UnaryName<S>> = Methods<S>[M] extends {
  input: infer I extends import('@bufbuild/protobuf').DescMessage;
}
  ? MessageInitShape<I>
  : never;

export type ResponseOf<S extends ServiceName, M extends UnaryName<S>> = Methods<S>[M] extends {
  output: infer O extends import('@bufbuild/protobuf').DescMessage;
}
  ? MessageShape<O>
  : never;

/** What the page wants to be told of. */
export interface WatchSpec {
  namespace: string;
  parts: WatchLiveRequest_Part[];
  /** Only these agents; empty: all. */
  agentIds: string[];
  eventFilter?: MessageInitShape<typeof EventFilterSchema>;
  recentEvents: number;
  minIntervalMs: number;
}

export type ToWorker =
  | { kind: 'watch'; watch: number; spec: WatchSpec }
  | { kind: 'retry' }
  | { kind: 'call'; id: number; service: ServiceName; method: string; request: unknown }
  | { kind: 'cancel'; id: number };

/** How the stream is. Times are those of `performance.timeOrigin + performance.now()`, which never steps. */
export type LinkState =
  | { state: 'connecting' }
  | { state: 'live'; replicaId: string }
  | { state: 'lost'; reason: string; retryAt: number };

/** What goes wrong with a call, for people. */
export interface CallError {
  /** The code's name: "not_found". */
  code: string;
  /** The reason in the API's own words, without its prefix; may be empty. */
  reason: string;
  message: string;
}

type Part = Exclude<NonNullable<WatchLiveResponse['part']['case']>, 'agents'>;
export type PartNews = {
  [P in Part]: {
    kind: 'part';
    watch: number;
    part: P;
    value: Extract<WatchLiveResponse['part'], { case: P }>['value'];
    /** With alerts: the labels, by id, of those that are shown otherwise than they are. */
    rawLabels?: ReadonlyMap<string, Readonly<Record<string, string>>>;
  };
}[Part];

export type FromWorker =
  /** The stream was opened anew: each part begins again with what is there. */
  | { kind: 'begin'; watch: number }
  | { kind: 'link'; link: LinkState }
  /** Something came; `offsetMs` is the replica's clock minus the page's. */
  | { kind: 'heard'; at: number; offsetMs: number }
  | ({ kind: 'agents'; watch: number } & AgentNews)
  | PartNews
  | { kind: 'answer'; id: number; response: unknown }
  | { kind: 'failure'; id: number; error: CallError };

/** A clock that goes on evenly in the page and in the worker alike. */
export const steadyNow = (): number => performance.timeOrigin + performance.now();
