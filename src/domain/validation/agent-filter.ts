import {
  Agent_LivenessSchema,
  Agent_PhaseSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type AgentFilter,
  AgentFilterSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { LabelSelectorError, parseLabelSelector } from '../agent/label-selector.ts';
import { capabilityName, kind } from './agent-spec.ts';
import { known } from './numbers.ts';
import { list, message, type Rule } from './rules.ts';

/** A label selector, or empty; what does not parse is told with its place. */
export const labelSelector: Rule<string> = (violations, text) => {
  try {
    parseLabelSelector(text);
  } catch (error) {
    if (!(error instanceof LabelSelectorError)) throw error;
    violations.add(error.message);
  }
};

/** A filter of agents. */
export const agentFilter: Rule<AgentFilter> = message(AgentFilterSchema, {
  capabilities: list({ max: 32, item: capabilityName }),
  labelSelector,
  phases: list({ max: 32, item: known(Agent_PhaseSchema, 'refused') }),
  liveness: list({ max: 32, item: known(Agent_LivenessSchema, 'refused') }),
  kinds: list({ max: 32, item: kind }),
});
