import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline/promises';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Command } from 'commander';
import { Agent_LivenessSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  DeregisterAgentResponseSchema,
  RegisterAgentResponseSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { addSpecOptions, type SpecOptions, specFrom } from '../agent-spec.ts';
import type { Context, Runner } from '../context.ts';
import { readErrorDetails } from '../error-details.ts';
import { CommandError, exitCodes, UsageError } from '../errors.ts';
import { escapeText } from '../output/escape.ts';
import { enumName } from '../output/names.ts';
import { dim, plain, strong } from '../output/text.ts';

interface RegisterOptions extends SpecOptions {
  takeover?: boolean;
  requestId?: string;
}

interface DeregisterOptions {
  reason?: string;
  yes?: boolean;
  requestId?: string;
}

export function addRegisterCommands(agents: Command, run: Runner): void {
  addSpecOptions(
    agents
      .command('register')
      .description('register an agent and print its token, which is shown only this once')
      .argument('[agent]', 'its id; the service makes one if it is left out'),
  )
    .option('--takeover', 'although it has a live session, which is then superseded')
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .addHelpText(
      'after',
      '\nORCHESTRATOR_AGENT_TOKEN in the environment registers an agent again with its own token.',
    )
    .action((agentId: string | undefined, options: RegisterOptions, command: Command) =>
      run(command, (context) => register(context, agentId, options)),
    );

  agents
    .command('deregister')
    .alias('rm')
    .description('remove an agent and end its session')
    .argument('<agent>', 'its id')
    .option('--reason <text>', 'why, for the event')
    .option('-y, --yes', 'without asking')
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .action((agentId: string, options: DeregisterOptions, command: Command) =>
      run(command, (context) => deregister(context, agentId, options)),
    );
}

async function register(
  context: Context,
  agentId: string | undefined,
  options: RegisterOptions,
): Promise<void> {
  const { connection, namespace, io } = context;
  const token = (io.env.ORCHESTRATOR_AGENT_TOKEN ?? '').trim();
  // Checked here, because the error of an invalid header would show the token.
  if (!/^[\x21-\x7e]*$/.test(token)) throw new UsageError('ORCHESTRATOR_AGENT_TOKEN does not hold a token');
  const headers: Record<string, string> = token === '' ? {} : { authorization: `Bearer ${token}` };
  const spec = specFrom(options);
  const response = await withRequestId(context, options.requestId, (requestId) =>
    connection.agents.registerAgent(
      { namespace, agentId: agentId ?? '', spec, takeover: options.takeover ?? false, requestId },
      { ...context.call, headers },
    ),
  );
  if (context.format === 'json') return context.json(RegisterAgentResponseSchema, response, 'document');
  const { agent } = response;
  context.say([plain(response.agentToken)]);
  context.note([
    plain('registered '),
    strong(agent?.id ?? '?'),
    dim(` in ${agent?.namespace ?? '?'} at revision ${agent?.revision ?? '?'}`),
  ]);
  context.note([
    dim('above is its token, shown only now: the agent sends it as "authorization: Bearer <token>"'),
  ]);
}

async function deregister(
  context: Context,
  agentId: string,
  options: DeregisterOptions,
): Promise<number | undefined> {
  const { connection, namespace, call } = context;
  if (options.yes !== true) {
    if (context.io.stdin.isTTY !== true) {
      throw new UsageError('not on a terminal, so nobody can be asked: add --yes to deregister');
    }
    const { agent } = await connection.agents.getAgent({ namespace, agentId }, call);
    if (agent === undefined) throw new CommandError('the service answered without an agent');
    const liveness = enumName(Agent_LivenessSchema, agent.liveness);
    const what = [agent.id, agent.spec?.kind, liveness].filter(Boolean).join(', ');
    if (!(await confirm(context, `deregister ${what}? [y/N] `))) {
      context.note([plain('left as it is')]);
      return context.signal.aborted ? exitCodes.interrupted : exitCodes.failed;
    }
  }
  const response = await withRequestId(context, options.requestId, (requestId) =>
    connection.agents.deregisterAgent({ namespace, agentId, reason: options.reason ?? '', requestId }, call),
  );
  if (context.format === 'json') {
    context.json(DeregisterAgentResponseSchema, response, 'document');
    return undefined;
  }
  context.say([plain('deregistered '), strong(agentId), dim(` at revision ${response.revision}`)]);
  return undefined;
}

/** Asks on the terminal; anything but y or yes is a no. */
async function confirm({ io, signal }: Context, question: string): Promise<boolean> {
  const prompt = createInterface({ input: io.stdin, output: io.stderr });
  try {
    const answer = await prompt.question(escapeText(question), { signal });
    return /^y(es)?$/i.test(answer.trim());
  } catch {
    return false;
  } finally {
    prompt.close();
  }
}

/** Says how to repeat a write whose outcome is not known, so that it happens once. */
async function withRequestId<Result>(
  context: Context,
  given: string | undefined,
  write: (requestId: string) => Promise<Result>,
): Promise<Result> {
  const requestId = given ?? randomUUID();
  try {
    return await write(requestId);
  } catch (error) {
    if (mayHaveHappened(error)) {
      context.note([
        plain(`it may or may not have happened; to be sure, repeat it with --request-id ${requestId}`),
      ]);
    }
    throw error;
  }
}

function mayHaveHappened(error: unknown): boolean {
  if (!(error instanceof ConnectError)) return false;
  const { reason } = readErrorDetails(error);
  if (reason !== '') return reason === 'OUTCOME_UNKNOWN';
  return error.code === Code.DeadlineExceeded || error.code === Code.Canceled || error.code === Code.Internal;
}
