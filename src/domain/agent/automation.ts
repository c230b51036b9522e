import type {
  ConfirmLossRequest,
  ConfirmLossResponse,
  SetAutomationRequest,
  SetAutomationResponse,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type { Caller } from './caller.ts';

/** What operators decide about automatic action. */
export interface Automation {
  confirmLoss(request: ConfirmLossRequest, caller: Caller): Promise<ConfirmLossResponse>;
  set(request: SetAutomationRequest, caller: Caller): Promise<SetAutomationResponse>;
}
