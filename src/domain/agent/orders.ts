import type {
  DrainAgentRequest,
  DrainAgentResponse,
  QuarantineAgentRequest,
  QuarantineAgentResponse,
  RestartAgentRequest,
  RestartAgentResponse,
  ResumeAgentRequest,
  ResumeAgentResponse,
  StopAgentRequest,
  StopAgentResponse,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type { Caller } from './caller.ts';

export interface Orders {
  drain(request: DrainAgentRequest, caller: Caller): Promise<DrainAgentResponse>;
  resume(request: ResumeAgentRequest, caller: Caller): Promise<ResumeAgentResponse>;
  restart(request: RestartAgentRequest, caller: Caller): Promise<RestartAgentResponse>;
  stop(request: StopAgentRequest, caller: Caller): Promise<StopAgentResponse>;
  quarantine(request: QuarantineAgentRequest, caller: Caller): Promise<QuarantineAgentResponse>;
}
