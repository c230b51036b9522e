import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Command, Option } from 'commander';
import type { Payload } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  type TaskSpec,
  type TaskSpec_OnBudgetSpent,
  TaskSpec_OnBudgetSpentSchema,
  TaskSpec_OnLoss,
  TaskSpec_OnLossSchema,
  type TaskSpec_Winner,
  TaskSpec_WinnerSchema,
  TaskSpecSchema,
} from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { Context } from './context.ts';
import { UsageError } from './errors.ts';
import { enumChoices } from './output/names.ts';
import { collectPair, parseCount, parseDuration, parseEnum, parsePositiveDuration } from './parse.ts';
import { readPayload } from './payload.ts';
import {
  amountsOf,
  type PlacementOptions,
  parseInteger,
  placementOf,
  placementOptions,
} from './placement-options.ts';

/** What describes a task. */
export interface TaskOptions extends PlacementOptions {
  input?: string;
  json?: boolean;
  contentType?: string;
  priority?: number;
  deadline?: number;
  attemptTimeout?: number;
  acceptWithin?: number;
  maxAttempts?: number;
  minBackoff?: number;
  maxBackoff?: number;
  onLoss?: TaskSpec_OnLoss;
  waitForAgent?: number;
  winner?: TaskSpec_Winner;
  onBudgetSpent?: TaskSpec_OnBudgetSpent;
  label?: ReadonlyMap<string, string>;
  parent?: string;
  key?: string;
  movable?: boolean;
}

export function taskOptions(command: Command): Command {
  const duration = (flags: string, about: string) =>
    new Option(flags, about).argParser(parsePositiveDuration);
  command
    .option('--input <text>', 'what the agent gets: text, @file, or - for stdin; default: nothing')
    .option('--json', 'the input is JSON, and is checked')
    .option('--content-type <type>', 'media type of the input; default: by its kind');
  return placementOptions(command)
    .option(
      '--priority <number>',
      'of its owner’s tasks that wait the higher comes first: -100 to 100',
      parseInteger(-100, 100),
    )
    .addOption(duration('--deadline <duration>', 'timed out when it has not ended by then'))
    .addOption(duration('--attempt-timeout <duration>', 'an attempt that runs for longer has failed'))
    .addOption(duration('--accept-within <duration>', 'how long an agent may take to accept it'))
    .option('--max-attempts <count>', 'failed after so many attempts that failed', parseCount(1, 1000))
    .option(
      '--min-backoff <duration>',
      'the pause after the first failed attempt; default: 1s',
      parseDuration,
    )
    .option('--max-backoff <duration>', 'the longest pause; default: 5m', parseDuration)
    .addOption(choice('--on-loss <policy>', 'what happens when its agent is lost', TaskSpec_OnLossSchema))
    .addOption(duration('--wait-for-agent <duration>', 'with --on-loss wait: how long'))
    .addOption(
      choice('--winner <attempt>', 'with --on-loss reconcile: which one goes on', TaskSpec_WinnerSchema),
    )
    .addOption(
      choice(
        '--on-budget-spent <policy>',
        'what happens at the end of its budget',
        TaskSpec_OnBudgetSpentSchema,
      ),
    )
    .option('--label <key=value>', 'a label, as owner=team-a; as often as wanted', collectPair)
    .option('--parent <task>', 'the task that it is a part of')
    .option('--key <key>', 'of one key one is done at a time, in the order of submission')
    .option('--movable', 'it may be moved to another agent, where it begins anew');
}

const choice = (flags: string, about: string, schema: Parameters<typeof enumChoices>[0]): Option =>
  new Option(flags, about).choices(enumChoices(schema)).argParser(parseEnum(schema as never));

/** @throws UsageError */
export async function taskSpecOf(
  context: Context,
  capability: string,
  options: TaskOptions,
): Promise<TaskSpec> {
  const { priority = 0, deadline, attemptTimeout, acceptWithin, onLoss, waitForAgent, winner } = options;
  if (waitForAgent !== undefined && onLoss !== TaskSpec_OnLoss.WAIT)
    throw new UsageError('--wait-for-agent goes with --on-loss wait');
  if (winner !== undefined && onLoss !== TaskSpec_OnLoss.RECONCILE)
    throw new UsageError('--winner goes with --on-loss reconcile');
  const input = await inputOf(context, options);
  const placement = placementOf(options);
  const retry = retryOf(options);
  const time = (name: string, ms: number | undefined) =>
    ms === undefined ? {} : { [name]: durationFromMs(ms) };
  return create(TaskSpecSchema, {
    capability,
    priority,
    resources: amountsOf(options.resource),
    budgets: amountsOf(options.budget),
    labels: Object.fromEntries(options.label ?? []),
    orderingKey: options.key ?? '',
    parentTaskId: options.parent ?? '',
    movable: options.movable === true,
    ...(input !== undefined && { input }),
    ...(placement !== undefined && { placement }),
    ...(retry !== undefined && { retry }),
    ...(onLoss !== undefined && { onLoss }),
    ...(winner !== undefined && { winner }),
    ...(options.onBudgetSpent !== undefined && { onBudgetSpent: options.onBudgetSpent }),
    ...time('deadline', deadline),
    ...time('attemptTimeout', attemptTimeout),
    ...time('acceptWithin', acceptWithin),
    ...time('waitForAgent', waitForAgent),
  });
}

function retryOf({ maxAttempts, minBackoff, maxBackoff }: TaskOptions) {
  if (maxAttempts === undefined && minBackoff === undefined && maxBackoff === undefined) return undefined;
  return {
    maxAttempts: maxAttempts ?? 0,
    ...(minBackoff !== undefined && { minBackoff: durationFromMs(minBackoff) }),
    ...(maxBackoff !== undefined && { maxBackoff: durationFromMs(maxBackoff) }),
  };
}

async function inputOf(
  { io }: Context,
  { input, json, contentType }: TaskOptions,
): Promise<Payload | undefined> {
  if (input === undefined) {
    if (json === true || contentType !== undefined)
      throw new UsageError('--json and --content-type are about --input: give it');
    return undefined;
  }
  const file = input === '-' ? '-' : input.startsWith('@') ? input.slice(1) : undefined;
  const payload = await readPayload(io, {
    argument: file === undefined ? input : undefined,
    file,
    json: json === true,
  });
  if (contentType !== undefined) payload.contentType = contentType;
  return payload;
}
