import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import { GetReportResponseSchema } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError } from '../errors.ts';
import { escapeText } from '../output/escape.ts';
import { renderReport } from '../output/report.ts';
import { parseMoment, parsePositiveDuration } from '../parse.ts';

interface ReportOptions {
  window?: number;
  until?: number;
  markdown?: boolean;
}

/** A report reads a day of history. */
const usualTimeoutMs = 30_000;

export function addReportCommand(program: Command, run: Runner): void {
  program
    .command('report')
    .description('what there is to say of a day: figures, resources, what would help, incidents')
    .option('--window <duration>', 'over so long (default 1d; 1m to 31d)', parsePositiveDuration)
    .option(
      '--until <time>',
      'to there: 2026-08-03T14:00:00Z, or how long ago: 10m (default now)',
      (text: string) => parseMoment(text, Date.now()),
    )
    .option('--markdown', 'as text for mail and chat')
    .action((options: ReportOptions, command: Command) => run(command, (context) => show(context, options)));
}

async function show(context: Context, { window, until, markdown }: ReportOptions): Promise<void> {
  const { connection, namespace, signal, timeoutMs, timeoutGiven, format, style } = context;
  const response = await connection.monitoring.getReport(
    {
      namespace,
      ...(window === undefined ? {} : { window: durationFromMs(window) }),
      ...(until === undefined ? {} : { endTime: timestampFromMs(until) }),
    },
    { signal, timeoutMs: timeoutGiven ? timeoutMs : usualTimeoutMs },
  );
  if (format === 'json') return context.json(GetReportResponseSchema, response, 'document');
  const { report } = response;
  if (report === undefined) throw new CommandError('the service answered without a report');
  if (markdown === true) context.print(report.text.split('\n').map(escapeText));
  else context.print(renderReport(report, style));
}
