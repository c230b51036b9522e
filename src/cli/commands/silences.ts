import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Command, InvalidArgumentError } from 'commander';
import {
  CreateSilenceResponseSchema,
  DeleteSilenceResponseSchema,
  ListSilencesResponseSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError } from '../errors.ts';
import { matcherText, silenceCells, silenceColumns } from '../output/alert-cells.ts';
import { renderTable } from '../output/table.ts';
import { dim, good, plain, strong } from '../output/text.ts';
import { formatTime } from '../output/time.ts';
import { parsePositiveDuration } from '../parse.ts';
import { withRequestId } from '../request-id.ts';

interface CreateOptions {
  for: number;
  in?: number;
  comment: string;
  everywhere?: boolean;
  requestId?: string;
}

interface Matcher {
  name: string;
  value: string;
  negate: boolean;
}

/** `silences create|list|delete` */
export function addSilenceCommands(program: Command, run: Runner): void {
  const silences = program
    .command('silences')
    .alias('silence')
    .description('keep alerts from sinks for a time; they are judged and shown all the same');

  silences
    .command('create')
    .description('silence the alerts whose labels all match')
    .argument(
      '<matchers...>',
      'name=value, name!=value, name=prefix*; "alertname" is the rule',
      parseMatchers,
    )
    .requiredOption('--for <duration>', 'for so long', parsePositiveDuration)
    .requiredOption('-m, --comment <text>', 'why')
    .option('--in <duration>', 'begin only after this', parsePositiveDuration)
    .option('--everywhere', 'in all namespaces, not only in the one of --namespace')
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .addHelpText(
      'after',
      `
  orchestrator silences create alertname=agent_lost zone=eu-1 --for 2h -m "power works in eu-1"`,
    )
    .action((matchers: Matcher[], options: CreateOptions, command: Command) =>
      run(command, (context) => createSilence(context, matchers, options)),
    );

  silences
    .command('list')
    .alias('ls')
    .description('silences that are not over, those that end first come first')
    .option('--all', 'also those that are over')
    .action((options: { all?: boolean }, command: Command) =>
      run(command, async (context) => {
        const { connection, namespace, call } = context;
        const request = { namespace, withExpired: options.all === true };
        const response = await connection.alerts.listSilences(request, call);
        if (context.format === 'json') return context.json(ListSilencesResponseSchema, response, 'document');
        const rows = response.silences.map((silence) => silenceCells(silence, Date.now()));
        if (rows.length === 0) return context.note([dim('no silences')]);
        context.print(renderTable(silenceColumns, rows, context.style));
      }),
    );

  silences
    .command('delete')
    .alias('rm')
    .description('end a silence; alerts that still fire are sent')
    .argument('<silence>', 'its id')
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .action((silenceId: string, options: { requestId?: string }, command: Command) =>
      run(command, async (context) => {
        const { connection, call } = context;
        const response = await withRequestId(context, options.requestId, (requestId) =>
          connection.alerts.deleteSilence({ silenceId, requestId }, call),
        );
        if (context.format === 'json') return context.json(DeleteSilenceResponseSchema, response, 'document');
        context.say([good('ended: '), strong(silenceId)]);
      }),
    );
}

async function createSilence(
  context: Context,
  matchers: readonly Matcher[],
  options: CreateOptions,
): Promise<void> {
  const { connection, namespace, call } = context;
  const startMs = Date.now() + (options.in ?? 0);
  const response = await withRequestId(context, options.requestId, (requestId) =>
    connection.alerts.createSilence(
      {
        namespace: options.everywhere === true ? '' : namespace || 'default',
        matchers: [...matchers],
        ...(options.in === undefined ? {} : { startTime: timestampFromMs(startMs) }),
        endTime: timestampFromMs(startMs + options.for),
        comment: options.comment,
        requestId,
      },
      call,
    ),
  );
  if (context.format === 'json') return context.json(CreateSilenceResponseSchema, response, 'document');
  const { silence } = response;
  if (silence === undefined) throw new CommandError('the service answered without a silence');
  context.say([
    good('silenced: '),
    strong(silence.id),
    plain(`  ${silence.matchers.map(matcherText).join(', ')} until ${formatTime(silence.endTime)}`),
    dim(`, ${silence.alerts} ${silence.alerts === 1 ? 'alert' : 'alerts'} now`),
  ]);
}

function parseMatchers(text: string, before: readonly Matcher[] | undefined): Matcher[] {
  const found = /^([^=!]+)(!?=)(.*)$/.exec(text);
  if (found === null) throw new InvalidArgumentError('write name=value or name!=value.');
  const [, name = '', sign = '', value = ''] = found;
  return [...(before ?? []), { name, value, negate: sign === '!=' }];
}
