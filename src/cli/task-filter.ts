import { create } from '@bufbuild/protobuf';
import type { Command } from 'commander';
import {
  type Task_State,
  type TaskFilter,
  TaskFilterSchema,
} from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { collectList } from './parse.ts';

export interface TaskFilterOptions {
  state?: Task_State[];
  capability?: string[];
  agent?: string;
  owner?: string;
  parent?: string;
  selector?: string;
}

/** The options that pick tasks. */
export function taskFilter(command: Command): Command {
  return command
    .option('--capability <name>', 'only for one of these capabilities', collectList)
    .option('--agent <agent>', 'only of this agent: it has it now, or its result')
    .option('--owner <owner>', 'only of this owner; "" is those without one')
    .option('--parent <task>', 'only directly below this task')
    .option('-l, --selector <selector>', 'only with these labels: tier=web,env in (a, b)');
}

export function taskFilterOf({
  state,
  capability,
  agent,
  owner,
  parent,
  selector,
}: TaskFilterOptions): TaskFilter {
  return create(TaskFilterSchema, {
    states: state ?? [],
    capabilities: capability ?? [],
    agentId: agent ?? '',
    parentTaskId: parent ?? '',
    labelSelector: selector ?? '',
    ...(owner !== undefined && { owner }),
  });
}
