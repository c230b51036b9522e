import { create } from '@bufbuild/protobuf';
import { type Command, Option } from 'commander';
import {
  Alert_State,
  Alert_StateSchema,
  type AlertSeverity,
  AlertSeveritySchema,
  type WatchAlertsResponse,
  WatchAlertsResponseSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  AcknowledgeAlertResponseSchema,
  GetAlertResponseSchema,
  ListAlertRulesResponseSchema,
  ListAlertSinksResponseSchema,
  ListAlertsResponseSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError, type ExitCode, exitCodes } from '../errors.ts';
import {
  alertCells,
  alertColumns,
  alertFields,
  alertLine,
  ruleCells,
  ruleColumns,
  sinkCells,
  sinkColumns,
  stateSpan,
} from '../output/alert-cells.ts';
import { enumChoices } from '../output/names.ts';
import { renderFields, renderTable } from '../output/table.ts';
import { dim, good, plain, strong } from '../output/text.ts';
import { collectEnum, collectList, parseCount, parseEnum } from '../parse.ts';
import { withRequestId } from '../request-id.ts';
import { runWatch, watchNotices } from '../watch.ts';

interface ListOptions {
  state?: Alert_State[];
  rule?: string[];
  severity?: AlertSeverity;
  agent?: string;
  under?: string;
  grouped?: boolean;
  all?: boolean;
  check?: boolean;
  limit?: number;
}

interface AckOptions {
  comment?: string;
  withdraw?: boolean;
  requestId?: string;
}

const pageSize = 500;
const usualLimit = 200;

/** `alerts list|get|watch|ack|rules|sinks` */
export function addAlertCommands(program: Command, run: Runner): void {
  const alerts = program
    .command('alerts')
    .alias('alert')
    .description('what calls for somebody: see, follow, acknowledge');

  alerts
    .command('list')
    .alias('ls')
    .description('alerts, the worst and newest first; those that are over only with --all or --state')
    .addOption(
      new Option('--state <state>', 'in these states')
        .choices(enumChoices(Alert_StateSchema))
        .argParser(collectEnum(Alert_StateSchema)),
    )
    .option('--all', 'in every state')
    .option('--rule <name>', 'of these rules', collectList)
    .addOption(
      new Option('--severity <severity>', 'at least so bad')
        .choices(enumChoices(AlertSeveritySchema))
        .argParser(parseEnum(AlertSeveritySchema)),
    )
    .option('--agent <id>', 'about this agent')
    .option('--grouped', 'also those that another alert explains')
    .option('--under <alert>', 'only those that this alert explains')
    .option('--limit <count>', `at most so many (default ${usualLimit})`, parseCount(1, 1_000_000))
    .option('--check', 'end with code 1 if one fires that nobody has acknowledged')
    .action((options: ListOptions, command: Command) => run(command, (context) => list(context, options)));

  alerts
    .command('get')
    .description('one alert: what was measured, who was told')
    .argument('<alert>', 'its id')
    .action((alertId: string, _options: unknown, command: Command) =>
      run(command, async (context) => {
        const response = await context.connection.alerts.getAlert({ alertId }, context.call);
        if (context.format === 'json') return context.json(GetAlertResponseSchema, response, 'document');
        if (response.alert === undefined) throw new CommandError('the service answered without an alert');
        context.print(renderFields(alertFields(response.alert, Date.now()), context.style));
      }),
    );

  alerts
    .command('watch')
    .description('those there are, then each as it changes')
    .option('--resolved', 'also those that are over and still kept')
    .action((options: { resolved?: boolean }, command: Command) =>
      run(command, (context) => watch(context, options.resolved === true)),
    );

  alerts
    .command('ack')
    .alias('acknowledge')
    .description('say that somebody looks after it')
    .argument('<alert>', 'its id')
    .option('-m, --comment <text>', 'what is being done')
    .option('--withdraw', 'take it back: it fires again')
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .action((alertId: string, options: AckOptions, command: Command) =>
      run(command, (context) => acknowledge(context, alertId, options)),
    );

  alerts
    .command('rules')
    .description('the rules in force: when each fires and clears')
    .action((_options: unknown, command: Command) =>
      run(command, async (context) => {
        const response = await context.connection.alerts.listAlertRules({}, context.call);
        if (context.format === 'json')
          return context.json(ListAlertRulesResponseSchema, response, 'document');
        context.print(renderTable(ruleColumns, response.rules.map(ruleCells), context.style));
      }),
    );

  alerts
    .command('sinks')
    .description('where alerts and events are sent, and how that goes')
    .action((_options: unknown, command: Command) =>
      run(command, async (context) => {
        const response = await context.connection.alerts.listAlertSinks({}, context.call);
        if (context.format === 'json')
          return context.json(ListAlertSinksResponseSchema, response, 'document');
        const rows = response.sinks.map((sink) => sinkCells(sink, Date.now()));
        if (rows.length === 0) return context.note([dim('no sinks are configured')]);
        context.print(renderTable(sinkColumns, rows, context.style));
      }),
    );
}

const everyState = [Alert_State.PENDING, Alert_State.FIRING, Alert_State.ACKNOWLEDGED, Alert_State.RESOLVED];

async function list(context: Context, options: ListOptions): Promise<ExitCode> {
  const { connection, namespace, call } = context;
  const limit = options.limit ?? usualLimit;
  const all = create(ListAlertsResponseSchema);
  do {
    const page = await connection.alerts.listAlerts(
      {
        namespace,
        states: options.all === true ? everyState : (options.state ?? []),
        rules: options.rule ?? [],
        ...(options.severity === undefined ? {} : { minSeverity: options.severity }),
        withGrouped: options.grouped === true || options.under !== undefined,
        groupedUnder: options.under ?? '',
        agentId: options.agent ?? '',
        pageSize: Math.min(pageSize, limit - all.alerts.length),
        pageToken: all.nextPageToken,
      },
      call,
    );
    all.alerts.push(...page.alerts);
    all.nextPageToken = page.nextPageToken;
    all.totalSize = page.totalSize;
  } while (all.nextPageToken !== '' && all.alerts.length < limit);
  const fires = all.alerts.some(({ state }) => state === Alert_State.FIRING);
  const code = options.check === true && fires ? exitCodes.failed : exitCodes.ok;
  if (context.format === 'json') {
    context.json(ListAlertsResponseSchema, all, 'document');
    return code;
  }
  const nowMs = Date.now();
  const rows = all.alerts.map((alert) => alertCells(alert, nowMs));
  if (rows.length === 0) context.note([good('no alerts')]);
  else context.print(renderTable(alertColumns, rows, context.style));
  if (all.nextPageToken !== '')
    context.note([dim(`${all.totalSize} match; these are the first ${all.alerts.length}: raise --limit`)]);
  return code;
}

/** A broken stream sends the whole again: what did not change meanwhile is not shown twice. */
async function watch(context: Context, withResolved: boolean): Promise<ExitCode> {
  const { connection, namespace, signal, timeoutMs } = context;
  const json = context.format === 'json';
  const shown = new Map<string, string>();
  const show = (response: WatchAlertsResponse): void => {
    for (const alert of response.alerts) {
      // Its place in its life, and what stands on its line.
      const print = `${stateSpan(alert).text} ${alert.summary} ${alert.groupSize}`;
      if (shown.get(alert.id) === print) continue;
      shown.set(alert.id, print);
      context.say(alertLine(alert));
    }
    for (const id of response.removedIds) shown.delete(id);
    for (const { id, comment, actor } of response.silences)
      context.say([dim('silence '), strong(id), plain(`  by ${actor}: ${comment}`)]);
    for (const id of response.removedSilenceIds) context.say([dim('silence over '), strong(id)]);
  };
  await runWatch({
    open: (_cursor, stop) => connection.alerts.watchAlerts({ namespace, withResolved }, { signal: stop }),
    cursorOf: () => '',
    receive: (response) => {
      if (json) context.json(WatchAlertsResponseSchema, response, 'line');
      else show(response);
    },
    ...watchNotices(context),
    signal,
    firstWithinMs: timeoutMs,
  });
  return exitCodes.interrupted;
}

async function acknowledge(context: Context, alertId: string, options: AckOptions): Promise<void> {
  const { connection, call } = context;
  const response = await withRequestId(context, options.requestId, (requestId) =>
    connection.alerts.acknowledgeAlert(
      { alertId, comment: options.comment ?? '', withdraw: options.withdraw === true, requestId },
      call,
    ),
  );
  if (context.format === 'json') return context.json(AcknowledgeAlertResponseSchema, response, 'document');
  const done = options.withdraw === true ? 'acknowledgement withdrawn: ' : 'acknowledged: ';
  context.say([good(done), strong(alertId), plain(`  ${response.alert?.summary ?? ''}`)]);
}
