import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Command, Option } from 'commander';
import {
  Aggregation,
  AggregationSchema,
  MetricScope,
  MetricScopeSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import {
  ListMetricsResponseSchema,
  QueryMetricsResponseSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { renderPoints, renderSeries } from '../output/metrics.ts';
import { enumChoices, enumName } from '../output/names.ts';
import { renderTable } from '../output/table.ts';
import { dim, plain, strong } from '../output/text.ts';
import { collectEnum, collectList, parseEnum, parseMoment, parsePositiveDuration } from '../parse.ts';

interface QueryOptions {
  scope?: MetricScope;
  id?: string[];
  selector?: string;
  resource?: string;
  since?: number;
  until?: number;
  step?: number;
  agg?: Aggregation[];
  merge?: boolean;
  points?: boolean;
}

/** `metrics list|query` */
export function addMetricCommands(program: Command, run: Runner): void {
  const moment = (text: string) => parseMoment(text, Date.now());
  const metrics = program
    .command('metrics')
    .alias('metric')
    .description('what was measured: the catalogue, and values over time');

  metrics
    .command('list')
    .alias('ls')
    .description('the metrics that can be queried, and that alert rules know')
    .action((_options: unknown, command: Command) =>
      run(command, async (context) => {
        const response = await context.connection.monitoring.listMetrics({}, context.call);
        if (context.format === 'json') return context.json(ListMetricsResponseSchema, response, 'document');
        const rows = response.metrics.map(({ name, unit, scopes, description, perResource }) => [
          strong(name),
          plain(unit),
          plain(scopes.map((scope) => enumName(MetricScopeSchema, scope).toLowerCase()).join(', ')),
          plain(perResource ? `${description} One for each resource.` : description),
        ]);
        const columns = [
          { title: 'METRIC' },
          { title: 'UNIT' },
          { title: 'OF', shrinkTo: 10 },
          { title: 'WHAT', shrinkTo: 24 },
        ];
        context.print(renderTable(columns, rows, context.style));
      }),
    );

  metrics
    .command('query')
    .description('values of a metric over time, as a line of bars each, or point by point')
    .argument('<metric>', 'its name, from metrics list')
    .addOption(
      new Option('--scope <scope>', 'of what (default fleet)')
        .choices(enumChoices(MetricScopeSchema))
        .argParser(parseEnum(MetricScopeSchema)),
    )
    .option('--id <id>', 'of these zones, agents, replicas or services', collectList)
    .option('-l, --selector <selector>', 'of agents with these labels')
    .option('--resource <name>', 'of this resource')
    .option('--since <time>', 'from: 2026-08-03T14:00:00Z, or how long ago: 10m (default 1h)', moment)
    .option('--until <time>', 'to (default now)', moment)
    .option('--step <duration>', 'a point for each (default: about 300 in all)', parsePositiveDuration)
    .addOption(
      new Option('--agg <aggregation>', 'what each point tells (default avg)')
        .choices(enumChoices(AggregationSchema))
        .argParser(collectEnum(AggregationSchema)),
    )
    .option('--merge', 'all of them as one series')
    .option('--points', 'point by point')
    .addHelpText(
      'after',
      `
Metrics of replicas and services are in namespace _system.

  orchestrator metrics query communication_latency --scope zone --agg p95,p99 --since 6h`,
    )
    .action((metric: string, options: QueryOptions, command: Command) =>
      run(command, (context) => query(context, metric, options)),
    );
}

async function query(context: Context, metric: string, options: QueryOptions): Promise<void> {
  const { connection, namespace, call, format, style } = context;
  const { since, until, step } = options;
  const scope = options.scope ?? MetricScope.FLEET;
  const ofService = scope === MetricScope.REPLICA || scope === MetricScope.SERVICE;
  const response = await connection.monitoring.queryMetrics(
    {
      namespace: namespace === '' && ofService ? '_system' : namespace,
      metric,
      scope,
      ids: options.id ?? [],
      selector: options.selector ?? '',
      resource: options.resource ?? '',
      aggregations: options.agg ?? [Aggregation.AVG],
      merge: options.merge === true,
      ...(since === undefined ? {} : { startTime: timestampFromMs(since) }),
      ...(until === undefined ? {} : { endTime: timestampFromMs(until) }),
      ...(step === undefined ? {} : { step: durationFromMs(step) }),
    },
    call,
  );
  if (format === 'json') return context.json(QueryMetricsResponseSchema, response, 'document');
  if (response.series.every(({ points }) => points.length === 0))
    return context.note([dim('nothing was measured in this time')]);
  context.print(options.points === true ? renderPoints(response, style) : renderSeries(response, style));
}
