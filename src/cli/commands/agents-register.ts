import type { Command } from 'commander';
import { Agent_LivenessSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  DeregisterAgentResponseSchema,
  RegisterAgentResponseSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { addSpecOptions, type SpecOptions, specFrom } from '../agent-spec.ts';
import { refusal } from '../ask.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError, UsageError } from '../errors.ts';
import { addPolicyOptions, type PolicyOptions, policyFrom } from '../failure-policy.ts';
import { enumName } from '../output/names.ts';
import { dim, plain, strong } from '../output/text.ts';
import { withRequestId } from '../request-id.ts';

interface RegisterOptions extends SpecOptions, PolicyOptions {
  takeover?: boolean;
  requestId?: string;
}

interface DeregisterOptions {
  reason?: string;
  yes?: boolean;
  requestId?: string;
}

export function addRegisterCommands(agents: Command, run: Runner): void {
  const registers = agents
    .command('register')
    .description('register an agent and print its token, which is shown only this once')
    .argument('[agent]', 'its id; the service makes one if it is left out');
  addPolicyOptions(addSpecOptions(registers))
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
  const policy = policyFrom(options, undefined);
  if (policy !== undefined) spec.failurePolicy = policy;
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
  const refused = await refusal(context, options.yes, 'deregister', async () => {
    const { agent } = await connection.agents.getAgent({ namespace, agentId }, call);
    if (agent === undefined) throw new CommandError('the service answered without an agent');
    const liveness = enumName(Agent_LivenessSchema, agent.liveness);
    return `deregister ${[agent.id, agent.spec?.kind, liveness].filter(Boolean).join(', ')}`;
  });
  if (refused !== undefined) return refused;
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
