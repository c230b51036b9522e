import type { Command } from 'commander';
import { GetTopologyResponseSchema } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { dim } from '../output/text.ts';
import { renderTopology } from '../output/topology.ts';
import { parseCount } from '../parse.ts';

interface TopologyOptions {
  selector?: string;
  groupBy?: string;
  max?: number;
  nodes?: boolean;
}

export function addTopologyCommand(program: Command, run: Runner): void {
  program
    .command('topology')
    .description('who depends on whom, and who talks to whom')
    .option('-l, --selector <selector>', 'only agents with these labels, and whom they have to do with')
    .option('--group-by <label>', 'put agents together by this label, or by "kind"')
    .option('--max <count>', 'at most so many agents or groups (default 500)', parseCount(1, 2_000))
    .option('--nodes', 'also agents that have to do with nobody')
    .action((options: TopologyOptions, command: Command) =>
      run(command, (context) => show(context, options)),
    );
}

async function show(context: Context, options: TopologyOptions): Promise<void> {
  const { connection, namespace, call } = context;
  const response = await connection.monitoring.getTopology(
    {
      namespace,
      selector: options.selector ?? '',
      groupBy: options.groupBy ?? '',
      maxNodes: options.max ?? 0,
    },
    call,
  );
  if (context.format === 'json') return context.json(GetTopologyResponseSchema, response, 'document');
  const lines = renderTopology(response, context.style, options.nodes === true);
  if (lines.length === 0) return context.note([dim('nobody has to do with anybody')]);
  context.print(lines);
  if (response.truncated) context.note([dim('some were left out: --group-by puts agents together')]);
}
