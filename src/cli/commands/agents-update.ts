import { Code, ConnectError } from '@connectrpc/connect';
import type { Command } from 'commander';
import {
  type UpdateAgentResponse,
  UpdateAgentResponseSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { readErrorDetails } from '../error-details.ts';
import { dim, plain, strong } from '../output/text.ts';
import { parseRevision } from '../parse.ts';
import { mayHaveHappened } from '../request-id.ts';
import { addUpdateOptions, buildsOnPresent, type UpdateOptions, updateFrom } from '../spec-update.ts';

interface CommandOptions extends UpdateOptions {
  expectedRevision?: bigint;
}

/** How often a change that builds on what it read begins again, because somebody else was faster. */
const mostTries = 5;

/** `agents update` */
export function addUpdateCommand(agents: Command, run: Runner): void {
  addUpdateOptions(
    agents
      .command('update')
      .description('change what describes an agent; what is not named stays')
      .argument('<agent>', 'its id'),
  )
    .option('--expected-revision <revision>', 'only if the agent still has this one', parseRevision)
    .addHelpText(
      'after',
      `
Examples:
  orchestrator agents update web-1 --label tier=batch --label canary-
  orchestrator agents update web-1 --on-loss keep --max-restarts 3 --no-quarantine
  orchestrator agents update web-1 --clear failure-policy      # as the service is configured`,
    )
    .action((agentId: string, options: CommandOptions, command: Command) =>
      run(command, (context) => update(context, agentId, options)),
    );
}

async function update(context: Context, agentId: string, options: CommandOptions): Promise<void> {
  // First of all, so that wrong options never reach the service.
  updateFrom(options, undefined);
  const { response, paths } = await write(context, agentId, options);
  if (context.format === 'json') return context.json(UpdateAgentResponseSchema, response, 'document');
  const revision = response.agent?.revision ?? '?';
  context.say([plain('updated '), strong(agentId), dim(` at revision ${revision}: ${paths.join(', ')}`)]);
}

async function write(
  context: Context,
  agentId: string,
  options: CommandOptions,
): Promise<{ response: UpdateAgentResponse; paths: string[] }> {
  const { connection, namespace, call } = context;
  const builds = buildsOnPresent(options);
  for (let tries = 1; ; tries++) {
    const present = builds
      ? (await connection.agents.getAgent({ namespace, agentId }, call)).agent
      : undefined;
    const { spec, paths } = updateFrom(options, present?.spec);
    const expectedRevision = options.expectedRevision ?? present?.revision;
    try {
      const response = await connection.agents.updateAgent(
        {
          namespace,
          agentId,
          spec,
          updateMask: { paths },
          ...(expectedRevision === undefined ? {} : { expectedRevision }),
        },
        call,
      );
      return { response, paths };
    } catch (error) {
      if (mayHaveHappened(error)) {
        context.note([plain('it may or may not have happened; the same command again does no harm')]);
      }
      const overtaken =
        error instanceof ConnectError &&
        error.code === Code.Aborted &&
        readErrorDetails(error).reason === 'REVISION_MISMATCH';
      if (!overtaken || !builds || options.expectedRevision !== undefined || tries >= mostTries) throw error;
    }
  }
}
