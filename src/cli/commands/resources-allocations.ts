import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Command, Option } from 'commander';
import {
  type Allocation,
  type Allocation_State,
  Allocation_StateSchema,
  CreateAllocationResponseSchema,
  GetAllocationResponseSchema,
  type ListAllocationsResponse,
  ListAllocationsResponseSchema,
  ReleaseAllocationResponseSchema,
  RenewAllocationResponseSchema,
} from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError, UsageError } from '../errors.ts';
import { allocationCells, allocationColumns, renderAllocation } from '../output/allocation-cells.ts';
import { sharesOf } from '../output/amounts.ts';
import { enumChoices } from '../output/names.ts';
import { renderTable } from '../output/table.ts';
import { dim, good, plain, strong } from '../output/text.ts';
import { formatMs, timestampMs } from '../output/time.ts';
import {
  collectAmount,
  collectEnum,
  collectPair,
  parseCount,
  parseDuration,
  parsePositiveDuration,
  parseRevision,
} from '../parse.ts';
import {
  amountsOf,
  type PlacementOptions,
  parseInteger,
  placementOf,
  placementOptions,
} from '../placement-options.ts';
import { withRequestId } from '../request-id.ts';

const pageSize = 500;

interface ListOptions {
  agent?: string;
  owner?: string;
  state?: Allocation_State[];
  withTasks?: boolean;
  limit: number;
}

interface AllocateOptions extends PlacementOptions {
  id?: string;
  lease: number;
  wait: number;
  holder?: string;
  label?: ReadonlyMap<string, string>;
  priority?: number;
  requestId?: string;
}

interface ChangeOptions {
  lease?: number;
  spent?: ReadonlyMap<string, bigint>;
  ifRevision?: bigint;
  requestId?: string;
}

/** `resources allocations|allocate|renew|release` */
export function addAllocationCommands(resources: Command, run: Runner): void {
  resources
    .command('allocations')
    .description('reservations; of one all that is known')
    .argument('[allocation]', 'its id; absent: a list')
    .option('--agent <agent>', 'only those on this agent')
    .option('--owner <owner>', 'only of this owner; "" is those without one')
    .addOption(
      new Option('--state <state>', 'only in one of these states; default: waiting and active')
        .choices(enumChoices(Allocation_StateSchema))
        .argParser(collectEnum(Allocation_StateSchema)),
    )
    .option('--with-tasks', 'with what is reserved for tasks')
    .option('--limit <count>', 'at most so many', parseCount(1, 1_000_000), 1_000)
    .action((id: string | undefined, options: ListOptions, command: Command) =>
      run(command, (context) =>
        id === undefined ? listAllocations(context, options) : showAllocation(context, id),
      ),
    );

  placementOptions(
    resources
      .command('allocate')
      .description('reserve resources of one agent, and budgets, for a lease; print the id')
      .argument('[capability]', 'what the agent must be able to do; absent: any agent'),
  )
    .addOption(
      new Option('--lease <duration>', 'how long it lasts unless it is renewed')
        .argParser(parsePositiveDuration)
        .default(60_000, '1m'),
    )
    .addOption(
      new Option('--wait <duration>', 'wait so long for it, at most 1h')
        .argParser(parseDuration)
        .default(0, '0s'),
    )
    .option('--holder <text>', 'who it is for, for people')
    .option('--label <key=value>', 'a label, as owner=team-a; as often as wanted', collectPair)
    .option(
      '--priority <number>',
      'of those that wait the higher comes first: -100 to 100',
      parseInteger(-100, 100),
    )
    .option('--id <allocation>', 'its id; default: one is made')
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .addHelpText(
      'after',
      `
Examples:
  orchestrator resources allocate --resource gpu=1 --lease 10m --wait 1m --label owner=team-a
  orchestrator resources allocate --budget tokens=100000 --holder "nightly run"

Code 1: nothing was free in the time that was waited; 4: no known agent could ever have it, or no quota declares a budget.`,
    )
    .action((capability: string | undefined, options: AllocateOptions, command: Command) =>
      run(command, (context) => allocate(context, capability ?? '', options)),
    );

  spentOption(resources.command('renew').description('keep a reservation for longer'))
    .option('--lease <duration>', 'from now on; default: as long as at first', parsePositiveDuration)
    .action((allocationId: string, options: ChangeOptions, command: Command) =>
      run(command, async (context) => {
        const { connection, namespace, call, format } = context;
        const { lease, spent, ifRevision } = options;
        const response = await connection.resources.renewAllocation(
          {
            ...{ namespace, allocationId, spent: amountsOf(spent) },
            ...(lease !== undefined && { lease: durationFromMs(lease) }),
            ...(ifRevision !== undefined && { expectedRevision: ifRevision }),
          },
          call,
        );
        if (format === 'json') return context.json(RenewAllocationResponseSchema, response, 'document');
        tell(context, 'renewed: ', response.allocation);
      }),
    );

  spentOption(resources.command('release').description('give a reservation back'))
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .action((allocationId: string, options: ChangeOptions, command: Command) =>
      run(command, async (context) => {
        const { connection, namespace, call, format } = context;
        const { spent, ifRevision } = options;
        const response = await withRequestId(context, options.requestId, (requestId) =>
          connection.resources.releaseAllocation(
            {
              ...{ namespace, allocationId, spent: amountsOf(spent), requestId },
              ...(ifRevision !== undefined && { expectedRevision: ifRevision }),
            },
            call,
          ),
        );
        if (format === 'json') return context.json(ReleaseAllocationResponseSchema, response, 'document');
        tell(context, 'released: ', response.allocation);
      }),
    );
}

const spentOption = (command: Command): Command =>
  command
    .argument('<allocation>', 'its id')
    .option(
      '--spent <name=amount>',
      'all that was spent so far, as tokens=900; as often as wanted',
      collectAmount,
    )
    .option('--if-revision <revision>', 'only if it has this revision', parseRevision);

async function listAllocations(context: Context, options: ListOptions): Promise<void> {
  const { connection, namespace, call, format, style } = context;
  const { agent = '', owner, state = [], withTasks = false, limit } = options;
  const all: ListAllocationsResponse = create(ListAllocationsResponseSchema);
  do {
    const page = await connection.resources.listAllocations(
      {
        ...{ namespace, agentId: agent, states: state, withTasks, pageToken: all.nextPageToken },
        pageSize: Math.min(pageSize, limit - all.allocations.length),
        ...(owner !== undefined && { owner }),
      },
      call,
    );
    all.allocations.push(...page.allocations);
    all.nextPageToken = page.nextPageToken;
  } while (all.nextPageToken !== '' && all.allocations.length < limit);
  if (format === 'json') return context.json(ListAllocationsResponseSchema, all, 'document');
  if (all.allocations.length === 0) return context.note([dim('no allocations match')]);
  const nowMs = Date.now();
  const rows = all.allocations.map((allocation) => allocationCells(allocation, nowMs));
  context.print(renderTable(allocationColumns, rows, style));
  if (all.nextPageToken !== '') context.note([dim('there are more: raise --limit')]);
}

async function showAllocation(context: Context, allocationId: string): Promise<void> {
  const { connection, namespace, call, format, style } = context;
  const response = await connection.resources.getAllocation({ namespace, allocationId }, call);
  if (format === 'json') return context.json(GetAllocationResponseSchema, response, 'document');
  context.print(renderAllocation(allocationIn(response), style, Date.now()));
}

async function allocate(context: Context, capability: string, options: AllocateOptions): Promise<void> {
  const { connection, namespace, signal, timeoutMs, format } = context;
  const { resource, budget, lease, wait, holder = '', label, priority = 0 } = options;
  if (resource === undefined && budget === undefined)
    throw new UsageError('reserve what? --resource or --budget must be given');
  const placement = placementOf(options);
  const response = await withRequestId(context, options.requestId, (requestId) =>
    connection.resources.createAllocation(
      {
        ...{ namespace, allocationId: options.id ?? '', requestId, wait: durationFromMs(wait) },
        spec: {
          ...{ capability, holder, priority, lease: durationFromMs(lease) },
          resources: amountsOf(resource),
          budgets: amountsOf(budget),
          labels: Object.fromEntries(label ?? []),
          ...(placement !== undefined && { placement }),
        },
      },
      { timeoutMs: timeoutMs + wait, signal },
    ),
  );
  if (format === 'json') return context.json(CreateAllocationResponseSchema, response, 'document');
  const { id } = allocationIn(response);
  context.say([strong(id)]);
  tell(context, 'reserved: ', response.allocation, context.note);
}

function tell(
  context: Context,
  done: string,
  allocation: Allocation | undefined,
  say: Context['say'] = context.say,
): void {
  const { id, agentId, spec, spent, expireTime, endTime } = allocationIn({ allocation });
  const left =
    expireTime === undefined || endTime !== undefined ? undefined : timestampMs(expireTime) - Date.now();
  const budgets = sharesOf(spent, spec?.budgets ?? {});
  say([
    good(done),
    strong(id),
    ...(agentId === '' ? [] : [plain(' on '), strong(agentId)]),
    ...(left === undefined ? [] : [plain(` for ${formatMs(Math.max(0, left))}`)]),
    ...(budgets === '' ? [] : [dim(`, spent ${budgets}`)]),
  ]);
}

function allocationIn({ allocation }: { allocation?: Allocation | undefined }): Allocation {
  if (allocation === undefined) throw new CommandError('the service answered without an allocation');
  return allocation;
}
