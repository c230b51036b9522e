import { create } from '@bufbuild/protobuf';
import { type Command, InvalidArgumentError } from 'commander';
import {
  type ExplainPlacementResponse,
  ExplainPlacementResponseSchema,
  type GetUsageResponse,
  GetUsageResponseSchema,
} from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { UsageError } from '../errors.ts';
import { renderPlacement } from '../output/placement.ts';
import { dim, plain, strong, warn } from '../output/text.ts';
import { renderUsage, usageLegend } from '../output/usage.ts';
import { collectAmount, collectList, parseCount } from '../parse.ts';
import { amountsOf, type PlacementOptions, placementOf, placementOptions } from '../placement-options.ts';
import { addAllocationCommands } from './resources-allocations.ts';
import { addQuotaCommands } from './resources-quotas.ts';
import { addRebalanceCommands } from './resources-rebalance.ts';

const pageSize = 500;

/** `resources usage|allocations|allocate|renew|release|quotas|explain|rebalance` */
export function addResourceCommands(program: Command, run: Runner): void {
  const resources = program
    .command('resources')
    .alias('resource')
    .description('what agents have and who has it; quotas, budgets, reservations, moves');

  resources
    .command('usage')
    .description(
      'how much there is, is reserved and is used: in all, by zone and by agent; quotas; what waits',
    )
    .option('-l, --selector <selector>', 'only agents with these labels')
    .option('--no-agents', 'without the agents')
    .option('--limit <count>', 'at most so many agents', parseCount(1, 1_000_000), 100)
    .action((options: UsageOptions, command: Command) =>
      run(command, (context) => showUsage(context, options)),
    );

  addAllocationCommands(resources, run);
  addQuotaCommands(resources, run);
  addExplainCommand(resources, run);
  addRebalanceCommands(resources, run);
}

interface UsageOptions {
  selector?: string;
  agents: boolean;
  limit: number;
}

async function showUsage(context: Context, { selector = '', agents, limit }: UsageOptions): Promise<void> {
  const { connection, namespace, call, format, style } = context;
  const all: GetUsageResponse = create(GetUsageResponseSchema);
  do {
    const page = await connection.resources.getUsage(
      {
        ...{ namespace, selector, withAgents: agents, pageToken: all.nextPageToken },
        pageSize: Math.min(pageSize, limit - all.agents.length),
      },
      call,
    );
    // The sums are of all agents on each page; those of the last one are the latest.
    Object.assign(all, { ...page, agents: [...all.agents, ...page.agents] });
  } while (all.nextPageToken !== '' && all.agents.length < limit);
  if (format === 'json') return context.json(GetUsageResponseSchema, all, 'document');
  const lines = renderUsage(all, { style, nowMs: Date.now(), withAgents: agents });
  context.print(lines);
  context.note([dim(lines.length === 0 ? 'nothing is declared, reserved or limited' : usageLegend)]);
  if (all.nextPageToken !== '') context.note([dim('there are more agents: raise --limit')]);
}

interface ExplainOptions extends PlacementOptions {
  task?: string;
  owner?: string;
  drained?: string[];
  suppose?: ReadonlyMap<string, ReadonlyMap<string, bigint>>;
}

function addExplainCommand(resources: Command, run: Runner): void {
  placementOptions(
    resources
      .command('explain')
      .description('where something would go, or why it cannot; also if things were otherwise')
      .argument('[capability]', 'what its agent must be able to do'),
  )
    .option('--task <task>', 'this task, instead of everything else')
    .option('--owner <owner>', 'whose it would be')
    .option('--drained <agent>', 'suppose that these agents are drained', collectList)
    .option(
      '--suppose <agent:name=amount>',
      'suppose that an agent had so much, and nothing else; as often as wanted',
      collectCapacity,
    )
    .addHelpText(
      'after',
      `
Examples:
  orchestrator resources explain train --resource gpu=2 -l zone=a
  orchestrator resources explain --task 0198a1b2-… --drained gpu-1,gpu-2
  orchestrator resources explain train --resource gpu=8 --suppose gpu-1:gpu=8

Nothing is reserved or changed.`,
    )
    .action((capability: string | undefined, options: ExplainOptions, command: Command) =>
      run(command, (context) => explain(context, capability ?? '', options)),
    );
}

/** Collects `agent:name=amount`. */
function collectCapacity(
  text: string,
  before: ExplainOptions['suppose'],
): ReadonlyMap<string, ReadonlyMap<string, bigint>> {
  const colon = text.indexOf(':');
  if (colon < 1) throw new InvalidArgumentError('write agent:name=amount.');
  const agent = text.slice(0, colon);
  const capacity = collectAmount(text.slice(colon + 1), before?.get(agent));
  return new Map(before).set(agent, capacity);
}

async function explain(context: Context, capability: string, options: ExplainOptions): Promise<void> {
  const { connection, namespace, call, format } = context;
  const { task, owner = '', drained = [], suppose, resource, budget } = options;
  const placement = placementOf(options);
  const described = capability !== '' || placement !== undefined || owner !== '' || resource || budget;
  if (task !== undefined && described)
    throw new UsageError('--task says all of it: only --drained and --suppose go with it');
  const whatIf = drained.length > 0 || suppose !== undefined;
  const response = await connection.resources.explainPlacement(
    {
      ...{ namespace, taskId: task ?? '', capability, owner },
      resources: amountsOf(resource),
      budgets: amountsOf(budget),
      ...(placement !== undefined && { placement }),
      ...(whatIf && {
        whatIf: {
          drainedAgentIds: drained,
          capacities: [...(suppose ?? [])].map(([agentId, capacity]) => ({
            agentId,
            capacity: amountsOf(capacity),
          })),
        },
      }),
    },
    call,
  );
  if (format === 'json') return context.json(ExplainPlacementResponseSchema, response, 'document');
  tellPlacement(context, response, whatIf);
}

function tellPlacement(context: Context, response: ExplainPlacementResponse, supposed: boolean): void {
  const { explanation, strandedTaskIds } = response;
  if (explanation !== undefined) context.print(renderPlacement(explanation, context.style));
  if (strandedTaskIds.length > 0) {
    context.say([
      warn(`${strandedTaskIds.length} tasks would then have no other place: `),
      plain(strandedTaskIds.join(', ')),
    ]);
  }
  if (supposed) context.note([strong('supposed'), dim(': nothing was changed')]);
}
