import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Command, InvalidArgumentError } from 'commander';
import {
  DeleteLinkPolicyResponseSchema,
  type LinkPolicySchema,
  type ListLinkPoliciesResponse,
  ListLinkPoliciesResponseSchema,
  type ListMessageLinksResponse,
  ListMessageLinksResponseSchema,
  SetLinkPolicyResponseSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError, UsageError } from '../errors.ts';
import { actionWords, linkCells, linkColumns, policyCells, policyColumns } from '../output/link-cells.ts';
import { renderTable } from '../output/table.ts';
import { dim, good, plain, strong } from '../output/text.ts';
import { formatTime } from '../output/time.ts';
import { parseCount, parseRevision } from '../parse.ts';
import { withRequestId } from '../request-id.ts';

interface SetOptions {
  from?: string;
  to?: string;
  mute?: boolean;
  reroute?: string;
  throttle?: number;
  burst?: number;
  perLink?: boolean;
  priority: number;
  reason?: string;
  ifRevision?: bigint;
  requestId?: string;
}

interface TrafficOptions {
  agent?: string;
  from?: string;
  to?: string;
  limit?: number;
}

const pageSize = 500;

/** `links set|delete|list|traffic` */
export function addLinkCommands(program: Command, run: Runner): void {
  const links = program
    .command('links')
    .alias('link')
    .description('who sends to whom: the traffic, and policies that mute, reroute or throttle it');

  links
    .command('set')
    .description('set a policy for the messages from some agents to others; it replaces one of the same id')
    .argument('<id>', 'its id')
    .option('--from <senders>', 'a label selector or agent:ID; default: everyone')
    .option('--to <receivers>', 'a label selector or agent:ID; default: everyone')
    .option('--mute', 'they do not pass')
    .option('--reroute <agent>', 'they go to this agent instead')
    .option('--throttle <per second>', 'so many pass', parseRate)
    .option('--burst <count>', 'with --throttle: so many at once after a pause', parseCount(1, 1_000_000))
    .option('--per-link', 'with --throttle: each pair of sender and receiver by itself')
    .option(
      '--priority <number>',
      'of several that match, the highest holds: -1000 to 1000',
      parsePriority,
      0,
    )
    .option('--reason <text>', 'why')
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
  orchestrator links set quiet --from agent:noisy-1 --mute --reason 'floods the fleet'
  orchestrator links set calm --to team=billing --throttle 5 --per-link
  orchestrator links set detour --to agent:old --reroute new

Code 4: it has another revision.`,
    )
    .action((id: string, options: SetOptions, command: Command) =>
      run(command, (context) => setPolicy(context, id, options)),
    );

  links
    .command('delete')
    .alias('rm')
    .description('remove a policy')
    .argument('<id>', 'its id')
    .option('--if-revision <revision>', 'only if it has this revision', parseRevision)
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .action((id: string, options: Pick<SetOptions, 'ifRevision' | 'requestId'>, command: Command) =>
      run(command, (context) => deletePolicy(context, id, options)),
    );

  links
    .command('list')
    .alias('ls')
    .description('policies, in the order in which they are looked at')
    .action((_options: unknown, command: Command) => run(command, listPolicies));

  links
    .command('traffic')
    .description('counts and latencies of each pair of sender and receiver')
    .option('--agent <id>', 'only from or to this agent')
    .option('--from <source>', 'only from this sender')
    .option('--to <id>', 'only to this agent')
    .option('--limit <count>', 'at most so many', parseCount(1, 1_000_000))
    .action((options: TrafficOptions, command: Command) =>
      run(command, (context) => showTraffic(context, options)),
    );
}

function parseRate(text: string): number {
  const rate = Number(text);
  if (!/^\d+(?:\.\d+)?$/.test(text) || rate <= 0)
    throw new InvalidArgumentError('write how many a second: 5, or 0.5 for one in two seconds.');
  return rate;
}

function parsePriority(text: string): number {
  if (!/^-?\d{1,4}$/.test(text)) throw new InvalidArgumentError('write a whole number from -1000 to 1000.');
  return Number(text);
}

type Action = NonNullable<MessageInitShape<typeof LinkPolicySchema>['action']>;

function actionOf({ mute, reroute, throttle, burst, perLink }: SetOptions): Action {
  const given = [mute, reroute, throttle].filter((each) => each !== undefined);
  if (given.length !== 1) throw new UsageError('one of --mute, --reroute and --throttle');
  if (throttle !== undefined) {
    const value = { maxPerSecond: throttle, burst: burst ?? 0, perLink: perLink === true };
    return { case: 'throttle', value };
  }
  if (burst !== undefined || perLink === true)
    throw new UsageError('--burst and --per-link go with --throttle');
  return reroute === undefined
    ? { case: 'mute', value: {} }
    : { case: 'reroute', value: { agentId: reroute } };
}

async function setPolicy(context: Context, id: string, options: SetOptions): Promise<void> {
  const { connection, namespace, call } = context;
  const { from = '', to = '', priority, reason = '', ifRevision } = options;
  const policy = { id, from, to, priority, reason, action: actionOf(options) };
  const response = await withRequestId(context, options.requestId, (requestId) =>
    connection.messages.setLinkPolicy(
      { namespace, policy, requestId, ...(ifRevision !== undefined && { expectedRevision: ifRevision }) },
      call,
    ),
  );
  if (context.format === 'json') return context.json(SetLinkPolicyResponseSchema, response, 'document');
  if (response.policy === undefined) throw new CommandError('the service answered without a policy');
  const { revision } = response.policy;
  context.say([
    good('set: '),
    strong(id),
    plain(`: ${actionWords(response.policy)}`),
    dim(`, revision ${revision}`),
  ]);
}

async function deletePolicy(
  context: Context,
  policyId: string,
  { ifRevision, requestId: given }: Pick<SetOptions, 'ifRevision' | 'requestId'>,
): Promise<void> {
  const { connection, namespace, call } = context;
  const response = await withRequestId(context, given, (requestId) =>
    connection.messages.deleteLinkPolicy(
      { namespace, policyId, requestId, ...(ifRevision !== undefined && { expectedRevision: ifRevision }) },
      call,
    ),
  );
  if (context.format === 'json') return context.json(DeleteLinkPolicyResponseSchema, response, 'document');
  context.say([good('removed: '), strong(policyId), dim(` at revision ${response.revision}`)]);
}

async function listPolicies(context: Context): Promise<void> {
  const { connection, namespace, call } = context;
  const all: ListLinkPoliciesResponse = create(ListLinkPoliciesResponseSchema);
  do {
    const page = await connection.messages.listLinkPolicies(
      { namespace, pageSize, pageToken: all.nextPageToken },
      call,
    );
    all.policies.push(...page.policies);
    all.nextPageToken = page.nextPageToken;
  } while (all.nextPageToken !== '');
  if (context.format === 'json') return context.json(ListLinkPoliciesResponseSchema, all, 'document');
  if (all.policies.length === 0) return context.note([dim('no link policies')]);
  const nowMs = Date.now();
  const rows = all.policies.map((policy) => policyCells(policy, nowMs));
  context.print(renderTable(policyColumns, rows, context.style));
}

async function showTraffic(context: Context, options: TrafficOptions): Promise<void> {
  const { connection, namespace, call } = context;
  const { agent: agentId = '', from: sender = '', to: receiver = '' } = options;
  const limit = options.limit ?? Number.POSITIVE_INFINITY;
  const all: ListMessageLinksResponse = create(ListMessageLinksResponseSchema);
  do {
    const size = Math.min(pageSize, limit - all.links.length);
    const page = await connection.messages.listMessageLinks(
      { namespace, agentId, sender, receiver, pageSize: size, pageToken: all.nextPageToken },
      call,
    );
    Object.assign(all, page, { links: [...all.links, ...page.links] });
  } while (all.nextPageToken !== '' && all.links.length < limit);
  if (context.format === 'json') return context.json(ListMessageLinksResponseSchema, all, 'document');
  const nowMs = Date.now();
  const since = `counted by ${all.replicaId} since ${formatTime(all.startTime)}`;
  if (all.links.length === 0) return context.note([dim(`no traffic; ${since}`)]);
  const rows = all.links.map((link) => linkCells(link, nowMs));
  context.print(renderTable(linkColumns, rows, context.style));
  const more = all.nextPageToken === '' ? '' : '; there are more: raise --limit';
  context.note([dim(`${since}${more}`)]);
}
