import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import { WatchAgentsResponseSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { type AgentFilterOptions, addAgentFilter, agentFilter } from '../agent-filter.ts';
import type { Context, Runner } from '../context.ts';
import { exitCodes } from '../errors.ts';
import { createAgentFeed } from '../output/agent-feed.ts';
import { plain, warn } from '../output/text.ts';
import { parsePositiveDuration } from '../parse.ts';
import { staleness } from '../staleness.ts';
import { runWatch, watchNotices } from '../watch.ts';

interface WatchOptions extends AgentFilterOptions {
  samples?: number;
  cursor?: string;
}

export function addWatchAgents(agents: Command, run: Runner): void {
  addAgentFilter(agents.command('watch').description('agents as they are, then each change as it happens'))
    .option('--samples <interval>', 'also readings of each agent, at most so often', parsePositiveDuration)
    .option('--cursor <cursor>', 'resume after it (from --output json)')
    .addHelpText(
      'after',
      '\nA broken connection is resumed where it ended, and stderr says so. Ctrl-C ends with code 130.',
    )
    .action((options: WatchOptions, command: Command) =>
      run(command, (context) => watchAgents(context, options)),
    );
}

async function watchAgents(context: Context, options: WatchOptions): Promise<number> {
  const { connection, namespace, signal, timeoutMs } = context;
  const json = context.format === 'json';
  const feed = createAgentFeed({ staleMs: await staleness(context), now: () => new Date() });
  const filter = agentFilter(options);
  await runWatch({
    open: (cursor, stop) =>
      connection.agents.watchAgents(
        {
          namespace,
          filter,
          cursor,
          ...(options.samples === undefined ? {} : { sampleInterval: durationFromMs(options.samples) }),
        },
        { signal: stop },
      ),
    cursorOf: (response) => response.cursor,
    receive: (response) => {
      if (json) context.json(WatchAgentsResponseSchema, response, 'line');
      else for (const line of feed.receive(response)) context.say(line);
    },
    ...watchNotices(context),
    anew: () => feed.restart(),
    restart: json
      ? undefined
      : () => {
          context.note([
            warn('the change log no longer reaches back that far: '),
            plain('comparing with a new snapshot'),
          ]);
        },
    signal,
    firstWithinMs: timeoutMs,
    cursor: options.cursor ?? '',
  });
  return exitCodes.interrupted;
}
