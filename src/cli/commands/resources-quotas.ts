import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { type Command, InvalidArgumentError } from 'commander';
import {
  type Budget,
  BudgetSchema,
  DeleteQuotaResponseSchema,
  GetQuotaResponseSchema,
  type ListQuotasResponse,
  ListQuotasResponseSchema,
  type Quota,
  QuotaSchema,
  UpdateQuotaResponseSchema,
} from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError, UsageError } from '../errors.ts';
import { quotaTable, renderQuota } from '../output/quota-cells.ts';
import { dim, good, strong } from '../output/text.ts';
import { collectChange, type MapChange, parseCount, parsePositiveDuration, parseRevision } from '../parse.ts';
import { withRequestId } from '../request-id.ts';

const pageSize = 500;

interface SetOptions {
  hard?: MapChange[];
  soft?: MapChange[];
  budget?: MapChange[];
  weight?: number;
  replace?: boolean;
  resetSpent?: boolean;
  ifRevision?: bigint;
  requestId?: string;
}

const whose = (owner: string): string => (owner === '' ? 'the namespace' : owner);

/** `resources quotas list|get|set|delete` */
export function addQuotaCommands(resources: Command, run: Runner): void {
  const quotas = resources
    .command('quotas')
    .alias('quota')
    .description('how much an owner, or the whole namespace, may have and spend');

  quotas
    .command('list')
    .alias('ls')
    .description('quotas by owner, with what of them is taken')
    .option('--limit <count>', 'at most so many', parseCount(1, 1_000_000), 1_000)
    .action(({ limit }: { limit: number }, command: Command) =>
      run(command, (context) => listQuotas(context, limit)),
    );

  quotas
    .command('get')
    .description('one quota')
    .argument('[owner]', 'whose; absent: the namespace’s')
    .action((owner: string | undefined, _options: unknown, command: Command) =>
      run(command, async (context) => {
        const { connection, namespace, call, format, style } = context;
        const response = await connection.resources.getQuota({ namespace, owner: owner ?? '' }, call);
        if (format === 'json') return context.json(GetQuotaResponseSchema, response, 'document');
        if (response.quota === undefined) throw new CommandError('the service answered without a quota');
        context.print(renderQuota(response.quota, style, Date.now()));
      }),
    );

  quotas
    .command('set')
    .description('set limits, budgets and the share of an owner; what is not named stays as it is')
    .argument('[owner]', 'whose; absent: the namespace’s')
    .option('--hard <name=limit>', 'never more than this is reserved; name- removes it', collectChange)
    .option('--soft <name=limit>', 'beyond this others come first; name- removes it', collectChange)
    .option(
      '--budget <name=limit[/period]>',
      'so much to spend, in all or in each period: tokens=1000000/1d; name- removes it',
      collectChange,
    )
    .option('--weight <number>', 'its share when owners compete: above 0, at most 1000', parseWeight)
    .option('--replace', 'what is not named goes')
    .option('--reset-spent', 'forget what was spent of its budgets')
    .option(
      '--if-revision <revision>',
      'only if it has this revision; 0: only if there is none',
      parseRevision,
    )
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .addHelpText(
      'after',
      `
Examples:
  orchestrator resources quotas set --budget tokens=5000000/1d
  orchestrator resources quotas set team-a --hard tasks=20 --hard gpu=4 --budget tokens=1000000/1d --weight 3
  orchestrator resources quotas set team-a --hard gpu- --reset-spent

Code 4: more than that is reserved or spent already, or somebody else changed it meanwhile.`,
    )
    .action((owner: string | undefined, options: SetOptions, command: Command) =>
      run(command, (context) => setQuota(context, owner ?? '', options)),
    );

  quotas
    .command('delete')
    .alias('rm')
    .description('remove a quota: its owner is limited by that of the namespace alone')
    .argument('[owner]', 'whose; absent: the namespace’s')
    .option('--if-revision <revision>', 'only if it has this revision', parseRevision)
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .action((owner = '', { ifRevision, requestId: given }: SetOptions, command: Command) =>
      run(command, async (context) => {
        const { connection, namespace, call, format } = context;
        const response = await withRequestId(context, given, (requestId) =>
          connection.resources.deleteQuota(
            {
              namespace,
              owner,
              requestId,
              ...(ifRevision !== undefined && { expectedRevision: ifRevision }),
            },
            call,
          ),
        );
        if (format === 'json') return context.json(DeleteQuotaResponseSchema, response, 'document');
        context.say([
          good('removed: '),
          strong(`quota of ${whose(owner)}`),
          dim(` at revision ${response.revision}`),
        ]);
      }),
    );
}

async function listQuotas(context: Context, limit: number): Promise<void> {
  const { connection, namespace, call, format, style } = context;
  const all: ListQuotasResponse = create(ListQuotasResponseSchema);
  do {
    const page = await connection.resources.listQuotas(
      { namespace, pageSize: Math.min(pageSize, limit - all.quotas.length), pageToken: all.nextPageToken },
      call,
    );
    all.quotas.push(...page.quotas);
    all.nextPageToken = page.nextPageToken;
  } while (all.nextPageToken !== '' && all.quotas.length < limit);
  if (format === 'json') return context.json(ListQuotasResponseSchema, all, 'document');
  if (all.quotas.length === 0) return context.note([dim('no quotas: nobody is limited')]);
  context.print(quotaTable(all.quotas, style, Date.now()));
  if (all.nextPageToken !== '') context.note([dim('there are more: raise --limit')]);
}

async function setQuota(context: Context, owner: string, options: SetOptions): Promise<void> {
  const { connection, namespace, call, format, style } = context;
  const {
    hard = [],
    soft = [],
    budget = [],
    weight,
    replace = false,
    resetSpent = false,
    ifRevision,
  } = options;
  const changes = [...hard, ...soft, ...budget];
  if (changes.length === 0 && weight === undefined && !replace && !resetSpent)
    throw new UsageError('nothing to set: --hard, --soft, --budget, --weight or --reset-spent');
  const limits = { hard: hard.map(limitOf), soft: soft.map(limitOf), budget: budget.map(budgetOf) };
  const before = replace ? undefined : await present(context, owner);
  const base = before ?? create(QuotaSchema, { namespace, owner });
  // What is kept is what was read, so nobody may have changed it meanwhile.
  const expectedRevision = ifRevision ?? (replace ? undefined : (before?.revision ?? 0n));
  const quota = create(QuotaSchema, {
    ...{ namespace, owner },
    hard: changed(base.hard, limits.hard),
    soft: changed(base.soft, limits.soft),
    budgets: changedBudgets(base.budgets, limits.budget),
    weight: weight ?? base.weight,
  });
  const response = await withRequestId(context, options.requestId, (requestId) =>
    connection.resources.updateQuota(
      { quota, resetSpent, requestId, ...(expectedRevision !== undefined && { expectedRevision }) },
      call,
    ),
  );
  if (format === 'json') return context.json(UpdateQuotaResponseSchema, response, 'document');
  context.note([
    good('set: '),
    strong(`quota of ${whose(owner)}`),
    dim(` at revision ${response.quota?.revision ?? 0n}`),
  ]);
  if (response.quota !== undefined) context.print(quotaTable([response.quota], style, Date.now()));
}

async function present({ connection, namespace, call }: Context, owner: string): Promise<Quota | undefined> {
  try {
    return (await connection.resources.getQuota({ namespace, owner }, call)).quota;
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.NotFound) return undefined;
    throw error;
  }
}

interface LimitChange {
  name: string;
  /** Undefined: without it. */
  limit: bigint | undefined;
}

function limitOf({ key, value }: MapChange): LimitChange {
  if (value === undefined) return { name: key, limit: undefined };
  if (!/^\d{1,16}$/.test(value)) throw new UsageError(`${key}: write name=limit, a whole number, or name-`);
  return { name: key, limit: BigInt(value) };
}

interface BudgetChange {
  name: string;
  budget: Budget | undefined;
}

/** `limit` or `limit/period`. */
function budgetOf({ key, value }: MapChange): BudgetChange {
  if (value === undefined) return { name: key, budget: undefined };
  const slash = value.indexOf('/');
  const { limit = 0n } = limitOf({ key, value: slash < 0 ? value : value.slice(0, slash) });
  const budget = create(BudgetSchema, { name: key, limit });
  if (slash >= 0) budget.period = durationFromMs(periodOf(value.slice(slash + 1)));
  return { name: key, budget };
}

function periodOf(text: string): number {
  try {
    return parsePositiveDuration(text);
  } catch (error) {
    throw new UsageError(`a period ${error instanceof Error ? error.message : ''}`);
  }
}

function changed(
  before: Readonly<Record<string, bigint>>,
  changes: readonly LimitChange[],
): Record<string, bigint> {
  const after = new Map(Object.entries(before));
  for (const { name, limit } of changes) {
    if (limit === undefined) after.delete(name);
    else after.set(name, limit);
  }
  return Object.fromEntries(after);
}

function changedBudgets(before: readonly Budget[], changes: readonly BudgetChange[]): Budget[] {
  const after = new Map(before.map((budget) => [budget.name, plainBudget(budget)]));
  for (const { name, budget } of changes) {
    if (budget === undefined) after.delete(name);
    else after.set(name, budget);
  }
  return [...after.values()];
}

const plainBudget = ({ name, limit, period }: Budget): Budget =>
  create(BudgetSchema, { name, limit, ...(period !== undefined && { period }) });

function parseWeight(text: string): number {
  const weight = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || weight <= 0 || weight > 1000)
    throw new InvalidArgumentError('write a number above 0, at most 1000.');
  return weight;
}
