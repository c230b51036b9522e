import type { Command } from 'commander';
import { ConfirmLossResponseSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { refusal } from '../ask.ts';
import type { Context, Runner } from '../context.ts';
import { brakeLines } from '../output/brakes.ts';
import { dim, good, plain, renderLine, strong } from '../output/text.ts';
import { withRequestId } from '../request-id.ts';

interface ConfirmOptions {
  zone?: string;
  reason: string;
  yes?: boolean;
  requestId?: string;
}

/** `losses confirm` */
export function addLossCommands(program: Command, run: Runner): void {
  program
    .command('losses')
    .description('mass failures: say that they are real')
    .command('confirm')
    .description('let go on what the brake holds back of agents that are in trouble now')
    .argument('[agent...]', 'only these')
    .option('--zone <zone>', 'only agents of this zone (label topology.kubernetes.io/zone)')
    .requiredOption('--reason <text>', 'why, for the event')
    .option('-y, --yes', 'without asking')
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .addHelpText(
      'after',
      `
Examples:
  orchestrator losses confirm --zone zone-a --reason 'the rack burnt down'
  orchestrator losses confirm web-1 web-2 --reason 'gone for good'

With neither zone nor agents it is of the whole namespace. It goes on at the configured rate and in random order;
an agent that comes back is spared. Code 4: no agent of that description is in trouble.`,
    )
    .action((agentIds: string[], options: ConfirmOptions, command: Command) =>
      run(command, (context) => confirmLoss(context, agentIds, options)),
    );
}

async function confirmLoss(
  context: Context,
  agentIds: string[],
  options: ConfirmOptions,
): Promise<number | undefined> {
  const { connection, namespace, call } = context;
  const zone = options.zone ?? '';
  const refused = await refusal(context, options.yes, 'confirm', async () => {
    const { status } = await connection.monitoring.getSystemStatus(
      { namespace: namespace || 'default' },
      call,
    );
    for (const brake of status?.brakes ?? []) {
      if (zone !== '' && brake.zone !== '' && brake.zone !== zone) continue;
      const lines = brakeLines(brake, { advice: false });
      for (const line of lines) context.io.stderr.write(`${renderLine(line, context.noticeStyle)}\n`);
    }
    const agents = agentIds.length === 0 ? 'all agents in trouble' : agentIds.join(', ');
    return `the loss of ${agents}${zone === '' ? '' : ` in zone ${zone}`} of namespace ${namespace || 'default'} is real`;
  });
  if (refused !== undefined) return refused;
  const response = await withRequestId(context, options.requestId, (requestId) =>
    connection.agents.confirmLoss({ namespace, zone, agentIds, reason: options.reason, requestId }, call),
  );
  if (context.format === 'json') {
    context.json(ConfirmLossResponseSchema, response, 'document');
    return undefined;
  }
  const agents = response.confirmed === 1 ? '1 agent' : `${response.confirmed} agents`;
  context.say([
    good('confirmed'),
    plain(': the loss of '),
    strong(agents),
    dim(` at revision ${response.revision}; follow it with: orchestrator status --watch`),
  ]);
  return undefined;
}
