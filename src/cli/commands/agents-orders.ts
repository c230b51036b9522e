import { ConnectError } from '@connectrpc/connect';
import type { Command } from 'commander';
import type { Agent } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { addAgentFilter } from '../agent-filter.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError, type ExitCode, exitCodes, UsageError } from '../errors.ts';
import { inParallel } from '../in-parallel.ts';
import { concernsAll, createOrderReport, type OrderReport } from '../order-report.ts';
import { chooseTargets, type TargetOptions } from '../order-targets.ts';
import { awaitOrders } from '../order-wait.ts';
import { type Order, type OrderAnswer, type OrderOptions, orders } from '../orders.ts';
import { answeredAtMs } from '../output/freshness.ts';
import { dim } from '../output/text.ts';
import { parseDuration, parsePositiveDuration, parseRevision } from '../parse.ts';
import { adviseRepeat, mayHaveHappened, partOfRequestId, withRequestId } from '../request-id.ts';

interface CommandOptions extends TargetOptions, OrderOptions {
  requestId?: string;
  wait?: boolean;
}

/** Orders under way at a time. */
const width = 8;

/** `agents drain|resume|restart|stop|quarantine` */
export function addOrderCommands(agents: Command, run: Runner): void {
  for (const order of orders) {
    const command = agents
      .command(order.name)
      .description(order.description)
      .argument('[agent...]', 'their ids; or choose them with the filters below')
      .option('--reason <text>', 'why, for the agent, the event and whoever looks later');
    if (order.takes.has('deadline')) {
      command.option('--deadline <duration>', 'how long it may take (default: as configured)', parseDuration);
    }
    if (order.takes.has('mandatory')) command.option('--mandatory', 'although the agent refuses');
    if (order.takes.has('for')) {
      command.option('--for <duration>', 'how long; absent: until they are resumed', parsePositiveDuration);
    }
    if (order.standing !== undefined) {
      command.option('--wait', 'until it has ended, and say how; --timeout then bounds the waiting, too');
    }
    addAgentFilter(command)
      .option('-y, --yes', 'without asking about the agents that match')
      .option('--expected-revision <revision>', 'only if the agent still has this one', parseRevision)
      .option('--request-id <id>', 'makes a repeat of the same command safe')
      .addHelpText('after', order.help)
      .action((ids: string[], options: CommandOptions) =>
        run(command, (context) => giveOrders(context, order, ids, options)),
      );
  }
}

async function giveOrders(
  context: Context,
  order: Order,
  named: readonly string[],
  options: CommandOptions,
): Promise<ExitCode> {
  if (options.expectedRevision !== undefined && named.length !== 1) {
    throw new UsageError('--expected-revision is of one agent: name that one');
  }
  const targets = await chooseTargets(context, named, options, order.name);
  if (targets.kind === 'nobody') return targets.exitCode;
  const { ids, found } = targets;
  const report = createOrderReport(context);
  const { standing } = order;
  const follow = options.wait === true && standing !== undefined;
  const ordered = new Map<string, Agent>();
  const alone = ids.length === 1 && !found;
  let unsure = false;
  await withRequestId(context, options.requestId, async (requestId) => {
    await inParallel(ids, width, async (agentId) => {
      const part = alone ? requestId : partOfRequestId(requestId, agentId);
      try {
        const agent = await give(context, order, agentId, part, options, report, follow);
        if (follow) ordered.set(agentId, agent);
      } catch (error) {
        if (!(error instanceof ConnectError) || alone || concernsAll(error)) throw error;
        unsure ||= mayHaveHappened(error);
        report.failed(agentId, error);
      }
    });
    if (unsure) adviseRepeat(context, requestId);
  });
  if (follow && ordered.size > 0) await follows(context, standing, ordered, report);
  if (context.signal.aborted) return exitCodes.interrupted;
  const failures = report.failures();
  if (ids.length > 1) {
    const failed = failures === 0 ? '' : `, ${failures} failed`;
    context.note([dim(`${ids.length - failures} of ${ids.length} done${failed}`)]);
  }
  return failures === 0 ? exitCodes.ok : exitCodes.failed;
}

async function give(
  context: Context,
  order: Order,
  agentId: string,
  requestId: string,
  options: CommandOptions,
  report: OrderReport,
  follow: boolean,
): Promise<Agent> {
  const { connection, namespace, call } = context;
  const target = { namespace, agentId, requestId };
  const { agent, deliveryId }: OrderAnswer = await order.give(connection.agents, target, options, call);
  if (agent === undefined) throw new CommandError('the service answered without an agent');
  const nowMs = answeredAtMs(agent, Date.now());
  // An order that ends with its answer is told once, as what it came to.
  const over = follow && order.standing?.(agent, nowMs).ended === true;
  if (!over) report.given(agent, order.words(agent, nowMs), deliveryId, !follow);
  return agent;
}

async function follows(
  context: Context,
  standing: NonNullable<Order['standing']>,
  ordered: ReadonlyMap<string, Agent>,
  report: OrderReport,
): Promise<void> {
  const told = new Set<string>();
  let open: ReadonlyMap<string, Agent> = ordered;
  try {
    open = await awaitOrders({
      context,
      ordered,
      standing,
      progress: report.progress,
      ended: (agentId, end, agent) => {
        told.add(agentId);
        report.ended(agentId, end, agent);
      },
      longestMs: context.timeoutGiven ? context.timeoutMs : undefined,
    });
  } finally {
    for (const [id, agent] of open) if (!told.has(id)) report.open(id, agent);
  }
}
