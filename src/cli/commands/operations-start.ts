import type { Command } from 'commander';
import {
  type AgentOutcome,
  type OperationSpec,
  type StartOperationResponse,
  StartOperationResponseSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { refusal } from '../ask.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError, type ExitCode, exitCodes } from '../errors.ts';
import { addSpecOptions, type SpecOptions, specOf } from '../operation-options.ts';
import { followOperation } from '../operation-progress.ts';
import { amountWords } from '../output/operation-spec.ts';
import { renderTable } from '../output/table.ts';
import { dim, good, plain, strong, warn } from '../output/text.ts';
import { withRequestId } from '../request-id.ts';

interface StartOptions extends SpecOptions {
  dryRun?: boolean;
  detach?: boolean;
  yes?: boolean;
  requestId?: string;
}

export function addStartOperation(operations: Command, run: Runner): void {
  addSpecOptions(
    operations
      .command('start')
      .description('give a command to many agents, and follow it')
      .argument('<command>', 'drain, resume, restart, stop, pause, or one that the agents define')
      .argument('[agent...]', 'agents, in the order of their turns; or choose them by the filters'),
  )
    .option('--dry-run', 'only say who would be touched, and in which wave')
    .option('--detach', 'end as soon as it is started')
    .option('-y, --yes', 'do not ask')
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .addHelpText(
      'after',
      `
Examples:
  orchestrator operations start drain -l zone=a --wave 10% --max-errors 2 --dry-run
  orchestrator operations start restart --kind trainer --wave 1 --wave-pause 30s --min-health 0.8
  orchestrator operations start reload-config --all --arguments '{"version": 7}' --agent-timeout 1m

Ctrl-C leaves it running. Code 0: it succeeded; 1: it stopped, was cancelled, or agents failed.`,
    )
    .action((name: string, agents: string[], options: StartOptions, command: Command) =>
      run(command, (context) => startOperation(context, specOf(name, agents, options), options)),
    );
}

async function startOperation(
  context: Context,
  spec: OperationSpec,
  options: StartOptions,
): Promise<ExitCode> {
  const { connection, namespace, call } = context;
  const json = context.format === 'json';
  if (options.dryRun === true) {
    const plan = await connection.operations.startOperation({ namespace, spec, dryRun: true }, call);
    if (json) context.json(StartOperationResponseSchema, plan, 'document');
    else printPlan(context, spec, plan);
    return exitCodes.ok;
  }
  const refused = await refusal(context, options.yes ?? isNamed(spec), spec.command, async () => {
    const plan = await connection.operations.startOperation({ namespace, spec, dryRun: true }, call);
    return `${spec.command} for ${whom(plan)}`;
  });
  if (refused !== undefined) return refused as ExitCode;
  const response = await withRequestId(context, options.requestId, (requestId) =>
    connection.operations.startOperation({ namespace, spec, requestId }, call),
  );
  const { operation } = response;
  if (operation === undefined) throw new CommandError('the service answered without an operation');
  if (json && options.detach === true) context.json(StartOperationResponseSchema, response, 'document');
  if (!json) {
    if (options.detach === true) context.say([strong(operation.id)]);
    context.note([good('started: '), strong(operation.id), plain(` for ${whom(response)}`)]);
  }
  return options.detach === true ? exitCodes.ok : followOperation(context, operation.id);
}

/** Who is named was chosen with care; what a filter picks is asked about. */
const isNamed = ({ filter }: OperationSpec): boolean => filter === undefined;

function whom({ operation }: StartOperationResponse): string {
  const { agents = 0, waves = 0 } = operation ?? {};
  return `${agents} ${agents === 1 ? 'agent' : 'agents'} in ${waves} ${waves === 1 ? 'wave' : 'waves'}`;
}

function printPlan(context: Context, spec: OperationSpec, plan: StartOperationResponse): void {
  context.say([strong(spec.command), plain(` for ${whom(plan)}: ${amountWords(spec)}`)]);
  const rows = plan.agents.map(({ wave, agentId, error }: AgentOutcome) => [
    dim(`${wave}`),
    strong(agentId),
    error === '' ? plain('') : warn(error),
  ]);
  const columns = [
    { title: 'WAVE', align: 'right' as const },
    { title: 'AGENT', shrinkTo: 16 },
    { title: 'NOTE', shrinkTo: 16 },
  ];
  context.print(renderTable(columns, rows, context.style));
  const noted = plan.agents.filter(({ error }) => error !== '').length;
  const words = noted === 0 ? '' : `; ${noted} with something to note`;
  context.note([dim(`nothing was done${words}`)]);
}
