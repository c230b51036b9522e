import { create } from '@bufbuild/protobuf';
import { type Command, Option } from 'commander';
import {
  type AgentOutcome_State,
  AgentOutcome_StateSchema,
  CancelOperationResponseSchema,
  type GetOperationResponse,
  GetOperationResponseSchema,
  type ListOperationsResponse,
  ListOperationsResponseSchema,
  type Operation,
  type Operation_State,
  Operation_StateSchema,
  PauseOperationResponseSchema,
  ResumeOperationResponseSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError } from '../errors.ts';
import { followOperation } from '../operation-progress.ts';
import { enumChoices } from '../output/names.ts';
import {
  agentCells,
  agentColumns,
  countsLine,
  operationCells,
  operationColumns,
  operationSpan,
  renderOperation,
} from '../output/operation-cells.ts';
import { renderTable } from '../output/table.ts';
import { dim, plain, strong } from '../output/text.ts';
import { collectEnum, parseCount, parseRevision } from '../parse.ts';
import { withRequestId } from '../request-id.ts';
import { addStartOperation } from './operations-start.ts';

const pageSize = 500;

/** `operations start|watch|list|show|pause|resume|cancel` */
export function addOperationCommands(program: Command, run: Runner): void {
  const operations = program
    .command('operations')
    .alias('op')
    .description('commands for many agents at once, in waves');
  addStartOperation(operations, run);

  operations
    .command('watch')
    .description('follow an operation until it has ended, or has stopped itself')
    .argument('<operation>', 'its id')
    .option('--cursor <cursor>', 'resume after it (from --output json)')
    .addHelpText('after', '\nCode 0: it succeeded; 1: it stopped, was cancelled, or agents failed.')
    .action((id: string, options: { cursor?: string }, command: Command) =>
      run(command, (context) => followOperation(context, id, options.cursor)),
    );

  operations
    .command('list')
    .alias('ls')
    .description('operations, newest first')
    .addOption(
      new Option('--state <state>', 'in one of these states')
        .choices(enumChoices(Operation_StateSchema))
        .argParser(collectEnum(Operation_StateSchema)),
    )
    .option('--limit <count>', 'at most so many', parseCount(1, 1_000_000), 50)
    .action((options: { state?: Operation_State[]; limit: number }, command: Command) =>
      run(command, (context) => listOperations(context, options)),
    );

  operations
    .command('show')
    .description('one operation, and what became of each agent')
    .argument('<operation>', 'its id')
    .addOption(
      new Option('--state <state>', 'only agents in one of these states')
        .choices(enumChoices(AgentOutcome_StateSchema))
        .argParser(collectEnum(AgentOutcome_StateSchema)),
    )
    .option('--limit <count>', 'at most so many agents', parseCount(1, 10_000), 10_000)
    .action((id: string, options: { state?: AgentOutcome_State[]; limit: number }, command: Command) =>
      run(command, (context) => showOperation(context, id, options)),
    );

  change(operations, run, 'pause', 'hand out no more commands; those that are out go on');
  change(operations, run, 'resume', 'go on after a pause, or after it stopped itself').option(
    '--retry-failed',
    'agents that failed get the command again',
  );
  change(operations, run, 'cancel', 'end it: what nobody has taken on is taken back');
}

async function listOperations(
  context: Context,
  { state, limit }: { state?: Operation_State[]; limit: number },
): Promise<void> {
  const { connection, namespace, call } = context;
  const all: ListOperationsResponse = create(ListOperationsResponseSchema);
  do {
    const size = Math.min(pageSize, limit - all.operations.length);
    const page = await connection.operations.listOperations(
      { namespace, states: state ?? [], pageSize: size, pageToken: all.nextPageToken },
      call,
    );
    all.operations.push(...page.operations);
    all.nextPageToken = page.nextPageToken;
  } while (all.nextPageToken !== '' && all.operations.length < limit);
  if (context.format === 'json') return context.json(ListOperationsResponseSchema, all, 'document');
  if (all.operations.length === 0) return context.note([dim('no operations')]);
  const nowMs = Date.now();
  const rows = all.operations.map((operation) => operationCells(operation, nowMs));
  context.print(renderTable(operationColumns, rows, context.style));
  if (all.nextPageToken !== '') context.note([dim('there are more: raise --limit')]);
}

async function showOperation(
  context: Context,
  operationId: string,
  { state, limit }: { state?: AgentOutcome_State[]; limit: number },
): Promise<void> {
  const { connection, namespace, call } = context;
  const all: GetOperationResponse = create(GetOperationResponseSchema);
  do {
    const page = await connection.operations.getOperation(
      {
        ...{ namespace, operationId, withAgents: true, agentStates: state ?? [] },
        pageSize: Math.min(pageSize, limit - all.agents.length),
        pageToken: all.nextPageToken,
      },
      call,
    );
    if (page.operation !== undefined) all.operation = page.operation;
    all.agents.push(...page.agents);
    all.nextPageToken = page.nextPageToken;
  } while (all.nextPageToken !== '' && all.agents.length < limit);
  if (context.format === 'json') return context.json(GetOperationResponseSchema, all, 'document');
  const nowMs = Date.now();
  context.print(renderOperation(operationIn(all), context.style, nowMs));
  if (all.agents.length === 0) return context.note([dim('no agents match')]);
  const rows = all.agents.map((agent) => agentCells(agent, nowMs));
  context.print(['', ...renderTable(agentColumns, rows, context.style)]);
  if (all.nextPageToken !== '') context.note([dim('there are more: raise --limit')]);
}

interface ChangeOptions {
  reason?: string;
  ifRevision?: bigint;
  requestId?: string;
  retryFailed?: boolean;
}

function change(
  operations: Command,
  run: Runner,
  name: 'pause' | 'resume' | 'cancel',
  about: string,
): Command {
  return operations
    .command(name)
    .description(about)
    .argument('<operation>', 'its id')
    .option('--reason <text>', 'why; events show it')
    .option('--if-revision <revision>', 'only if it has this revision', parseRevision)
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .action((id: string, options: ChangeOptions, command: Command) =>
      run(command, async (context) => {
        const { connection, namespace, call } = context;
        const { reason = '', ifRevision, retryFailed = false } = options;
        const operation = await withRequestId(context, options.requestId, async (requestId) => {
          const request = {
            ...{ namespace, operationId: id, reason, requestId },
            ...(ifRevision === undefined ? {} : { expectedRevision: ifRevision }),
          };
          const api = connection.operations;
          if (name === 'pause') {
            const response = await api.pauseOperation(request, call);
            if (context.format === 'json') context.json(PauseOperationResponseSchema, response, 'document');
            return operationIn(response);
          }
          if (name === 'cancel') {
            const response = await api.cancelOperation(request, call);
            if (context.format === 'json') context.json(CancelOperationResponseSchema, response, 'document');
            return operationIn(response);
          }
          const response = await api.resumeOperation({ ...request, retryFailed }, call);
          if (context.format === 'json') context.json(ResumeOperationResponseSchema, response, 'document');
          return operationIn(response);
        });
        if (context.format === 'json') return;
        const where = ` in wave ${operation.wave} of ${operation.waves}: `;
        context.say([
          strong(id),
          plain(' '),
          operationSpan(operation),
          plain(where),
          ...countsLine(operation),
        ]);
      }),
    );
}

function operationIn({ operation }: { operation?: Operation | undefined }): Operation {
  if (operation === undefined) throw new CommandError('the service answered without an operation');
  return operation;
}
