import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Command, InvalidArgumentError } from 'commander';
import {
  type Amount,
  AmountSchema,
  type OperationSpec,
  OperationSpecSchema,
} from '../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { type AgentFilterOptions, addAgentFilter, agentFilter } from './agent-filter.ts';
import { UsageError } from './errors.ts';
import { parseDuration, parsePositiveDuration } from './parse.ts';
import { jsonPayload } from './payload.ts';

export interface SpecOptions extends AgentFilterOptions {
  all?: boolean;
  arguments?: string;
  wave?: Amount;
  maxInFlight?: Amount;
  maxErrors?: Amount;
  agentTimeout?: number;
  minHealth?: number;
  wavePause?: number;
  reason?: string;
}

/** The options that say whom an operation concerns and how careful it is. */
export function addSpecOptions(command: Command): Command {
  return addAgentFilter(command)
    .option('--all', 'all agents of the namespace')
    .option('--arguments <json>', 'the arguments of a command of your own, as JSON')
    .option('--wave <amount>', 'so many agents at a time: 5 or 10%; default: all at once', parseAmount(1))
    .option('--max-in-flight <amount>', 'so many of a wave side by side: 5 or 10%', parseAmount(1))
    .option('--max-errors <amount>', 'stop when more fail: 5 or 10%; default: 0', parseAmount(0))
    .option('--agent-timeout <duration>', 'how long each agent may take; default: 5m', parsePositiveDuration)
    .option(
      '--min-health <score>',
      'stop when the mean health of those done falls below it: 0 to 1',
      parseScore,
    )
    .option('--wave-pause <duration>', 'wait so long between waves', parseDuration)
    .option('--reason <text>', 'why; agents and events show it');
}

/** @throws UsageError where nobody is chosen, or in two ways */
export function specOf(command: string, agentIds: readonly string[], options: SpecOptions): OperationSpec {
  const filters = [options.capability, options.selector, options.phase, options.liveness, options.kind];
  const filtered = filters.some((filter) => filter !== undefined);
  if (options.all === true && (filtered || agentIds.length > 0))
    throw new UsageError('--all, or some agents: not both');
  if (options.all !== true && !filtered && agentIds.length === 0)
    throw new UsageError('which agents? Name them, choose them (-l tier=web), or say --all');
  const { wave, maxInFlight, maxErrors, agentTimeout, minHealth, wavePause, reason } = options;
  return create(OperationSpecSchema, {
    command,
    agentIds: [...new Set(agentIds)],
    minHealth: minHealth ?? 0,
    reason: reason ?? '',
    ...(agentIds.length === 0 || filtered ? { filter: agentFilter(options) } : {}),
    ...(options.arguments === undefined ? {} : { arguments: jsonPayload(options.arguments) }),
    ...(wave === undefined ? {} : { wave }),
    ...(maxInFlight === undefined ? {} : { maxInFlight }),
    ...(maxErrors === undefined ? {} : { maxErrors }),
    ...(agentTimeout === undefined ? {} : { agentTimeout: durationFromMs(agentTimeout) }),
    ...(wavePause === undefined ? {} : { wavePause: durationFromMs(wavePause) }),
  });
}

/** `5` or `10%`. */
function parseAmount(least: number): (text: string) => Amount {
  return (text) => {
    const [, figure = '', share] = /^(\d{1,5}(?:\.\d{1,3})?)(%)?$/.exec(text) ?? [];
    const value = Number(figure);
    const whole = share === '%' || Number.isInteger(value);
    if (figure === '' || !whole || (share === '%' && value > 100) || value < (share === '%' ? 0 : least)) {
      throw new InvalidArgumentError(`write how many (${least} or more), or a share such as 10%.`);
    }
    return create(AmountSchema, {
      amount: share === '%' ? { case: 'percent', value } : { case: 'count', value },
    });
  };
}

function parseScore(text: string): number {
  const score = Number(text);
  if (!/^\d(\.\d+)?$/.test(text) || score > 1) throw new InvalidArgumentError('write a score from 0 to 1.');
  return score;
}
