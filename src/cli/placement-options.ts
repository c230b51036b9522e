import { create } from '@bufbuild/protobuf';
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  type Placement,
  type Placement_Strategy,
  Placement_StrategySchema,
  PlacementSchema,
} from '../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { enumChoices } from './output/names.ts';
import { collectAmount, collectList, parseCount, parseEnum } from './parse.ts';

/** What is wanted of agents, and which of them may be chosen. */
export interface PlacementOptions {
  resource?: ReadonlyMap<string, bigint>;
  budget?: ReadonlyMap<string, bigint>;
  capabilityVersion?: string;
  selector?: string;
  agent?: string[];
  notAgent?: string[];
  strategy?: Placement_Strategy;
  group?: string;
  maxPerAgent?: number;
}

/** Options of everything that is placed. */
export function placementOptions(command: Command): Command {
  return command
    .option(
      '--resource <name=amount>',
      'so much of the agent, as cpu_milli=500; as often as wanted',
      collectAmount,
    )
    .option('--budget <name=amount>', 'so much to spend, as tokens=1000; as often as wanted', collectAmount)
    .option('--capability-version <range>', 'in this version: 1.2.3, ">=1.2 <2", "^1.4"')
    .option('-l, --selector <selector>', 'only agents with these labels: gpu=yes,zone in (a, b)')
    .option('--agent <agent>', 'only these agents; as often as wanted', collectList)
    .option('--not-agent <agent>', 'never these', collectList)
    .addOption(
      new Option('--strategy <strategy>', 'which of those that fit')
        .choices(enumChoices(Placement_StrategySchema))
        .argParser(parseEnum(Placement_StrategySchema)),
    )
    .option('--group <name>', 'the group that it is counted in; default: the capability')
    .option('--max-per-agent <count>', 'at most so many of its group on one agent', parseCount(1, 1_000_000));
}

/** Undefined: nothing was said about it. */
export function placementOf(options: PlacementOptions): Placement | undefined {
  const { capabilityVersion, selector, agent, notAgent, strategy, group, maxPerAgent } = options;
  const said = [capabilityVersion, selector, agent, notAgent, strategy, group, maxPerAgent];
  if (said.every((value) => value === undefined)) return undefined;
  return create(PlacementSchema, {
    ...(capabilityVersion !== undefined && { capabilityVersion }),
    ...(selector !== undefined && { selector }),
    ...(agent !== undefined && { agentIds: [...new Set(agent)] }),
    ...(notAgent !== undefined && { notAgentIds: [...new Set(notAgent)] }),
    ...(strategy !== undefined && { strategy }),
    ...(group !== undefined && { group }),
    ...(maxPerAgent !== undefined && { maxPerAgent }),
  });
}

export const amountsOf = (amounts: ReadonlyMap<string, bigint> | undefined): Record<string, bigint> =>
  Object.fromEntries(amounts ?? []);

/** A whole number that may be negative. */
export function parseInteger(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^-?\d+$/.test(text) || value < least || value > most) {
      throw new InvalidArgumentError(`write a whole number from ${least} to ${most}.`);
    }
    return value;
  };
}
