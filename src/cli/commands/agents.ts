import type { Command } from 'commander';
import { GetAgentResponseSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { addAgentFilter } from '../agent-filter.ts';
import type { Runner } from '../context.ts';
import { CommandError } from '../errors.ts';
import { renderAgent } from '../output/agent-detail.ts';
import { parseCount } from '../parse.ts';
import { staleness } from '../staleness.ts';
import { explainAgent } from './agents-explain.ts';
import { type ListOptions, listAgents } from './agents-list.ts';
import { addOrderCommands } from './agents-orders.ts';
import { addRegisterCommands } from './agents-register.ts';
import { addUpdateCommand } from './agents-update.ts';
import { addWatchAgents } from './agents-watch.ts';

/** `agents list|get|watch|explain|register|deregister|update` and the orders to agents */
export function addAgentCommands(program: Command, run: Runner): void {
  const agents = program
    .command('agents')
    .alias('agent')
    .description('the fleet: see, register, change, remove agents, and give them orders');

  addAgentFilter(agents.command('list').alias('ls').description('agents as a table, one a line'))
    .option('--limit <count>', 'at most so many', parseCount(1, 1_000_000))
    .action((options: ListOptions, command: Command) =>
      run(command, (context) => listAgents(context, options)),
    );

  agents
    .command('get')
    .description('all that is known of one agent')
    .argument('<agent>', 'its id')
    .action((agentId: string, _options: unknown, command: Command) =>
      run(command, async (context) => {
        const { connection, namespace, call } = context;
        const [response, staleMs] = await Promise.all([
          connection.agents.getAgent({ namespace, agentId }, call),
          staleness(context),
        ]);
        if (context.format === 'json') return context.json(GetAgentResponseSchema, response, 'document');
        if (response.agent === undefined) throw new CommandError('the service answered without an agent');
        context.print(renderAgent(response.agent, { staleMs, style: context.style, ownMs: Date.now() }));
      }),
    );

  addWatchAgents(agents, run);

  agents
    .command('explain')
    .description('how an agent is and why: signals, what is judged next, verdicts with their evidence')
    .argument('<agent>', 'its id')
    .action((agentId: string, _options: unknown, command: Command) =>
      run(command, (context) => explainAgent(context, agentId)),
    );

  addRegisterCommands(agents, run);
  addUpdateCommand(agents, run);
  addOrderCommands(agents, run);
}
