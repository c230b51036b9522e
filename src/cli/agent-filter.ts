import { create } from '@bufbuild/protobuf';
import { type Command, Option } from 'commander';
import {
  type Agent_Liveness,
  Agent_LivenessSchema,
  type Agent_Phase,
  Agent_PhaseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type AgentFilter,
  AgentFilterSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { enumChoices } from './output/names.ts';
import { collectEnum, collectList } from './parse.ts';

export interface AgentFilterOptions {
  capability?: string[];
  selector?: string;
  phase?: Agent_Phase[];
  liveness?: Agent_Liveness[];
  kind?: string[];
}

/** The options that choose agents; each may be given several times or with commas: any of them matches. */
export function addAgentFilter(command: Command): Command {
  return command
    .option('--capability <name>', 'has one of these capabilities', collectList)
    .option('-l, --selector <labels>', "label selector: 'tier=web,env in (a,b),!legacy'")
    .addOption(
      new Option('--phase <phase>', 'in one of these phases')
        .choices(enumChoices(Agent_PhaseSchema))
        .argParser(collectEnum(Agent_PhaseSchema)),
    )
    .addOption(
      new Option('--liveness <state>', 'in one of these states')
        .choices(enumChoices(Agent_LivenessSchema))
        .argParser(collectEnum(Agent_LivenessSchema)),
    )
    .option('--kind <kind>', 'is of one of these kinds', collectList);
}

export function agentFilter(options: AgentFilterOptions): AgentFilter {
  return create(AgentFilterSchema, {
    capabilities: options.capability ?? [],
    labelSelector: options.selector ?? '',
    phases: options.phase ?? [],
    liveness: options.liveness ?? [],
    kinds: options.kind ?? [],
  });
}
