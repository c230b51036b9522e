import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Command, Option } from 'commander';
import {
  type Event_Severity,
  Event_SeveritySchema,
  type EventFilter,
  EventFilterSchema,
  GetEventResponseSchema,
  type ListEventsResponse,
  ListEventsResponseSchema,
  WatchEventsResponseSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError, type ExitCode, exitCodes, summarize, UsageError } from '../errors.ts';
import { renderChain } from '../output/event-chain.ts';
import { eventCells, eventColumns, eventLine, wideEventColumns } from '../output/event-lines.ts';
import { enumChoices } from '../output/names.ts';
import { renderTable } from '../output/table.ts';
import { bad, dim, plain } from '../output/text.ts';
import { collectList, parseCount, parseEnum, parseMoment } from '../parse.ts';
import { runWatch, watchNotices } from '../watch.ts';

interface EventOptions {
  agent?: string[];
  type?: string[];
  severity?: Event_Severity;
  since?: number;
  until?: number;
  limit?: number;
  follow?: boolean;
  cursor?: string;
  cause?: string;
  actor?: string;
}

const pageSize = 500;
const usualLimit = 50;
const usualTail = 10;

export function addEventsCommand(program: Command, run: Runner): void {
  const moment = (text: string) => parseMoment(text, Date.now());
  const events = program
    .command('events')
    .description('what happened, newest first; events get: one with what led to it and what came of it')
    .option('--agent <id>', 'of these agents', collectList)
    .option('--type <type>', "of these types; 'agent.*' means all that begin so", collectList)
    .addOption(
      new Option('--severity <severity>', 'at least so serious')
        .choices(enumChoices(Event_SeveritySchema))
        .argParser(parseEnum(Event_SeveritySchema)),
    )
    .option('--cause <event>', 'only what this event led to directly')
    .option('--actor <actor>', "only what they did; 'rule:*' means all that begin so")
    .option('--since <time>', 'not before: 2026-08-03T14:00:00Z, or how long ago: 10m', moment)
    .option('--until <time>', 'before', moment)
    .option(
      '--limit <count>',
      `at most so many (default ${usualLimit}; before --follow ${usualTail})`,
      parseCount(0, 1_000_000),
    )
    .option('-f, --follow', 'the latest, oldest first, then each event as it happens')
    .option('--cursor <cursor>', 'with --follow: resume after it (from --output json)')
    .addHelpText(
      'after',
      '\nA broken connection is resumed where it ended, and stderr says so. Ctrl-C ends with code 130.',
    )
    .action((options: EventOptions, command: Command) =>
      run(command, (context) =>
        options.follow === true ? followEvents(context, options) : listEvents(context, options),
      ),
    );

  events
    .command('get')
    .description('an event, what led to it and what came of it')
    .argument('<event>', 'its id, as events --output wide shows it')
    .action((eventId: string, _options: unknown, command: Command) =>
      run(command, (context) => getEvent(context, eventId)),
    );
}

/** The chain as a tree: causes above, consequences below, each under what led to it. */
async function getEvent(context: Context, eventId: string): Promise<void> {
  const { connection, namespace, call, format, style } = context;
  const response = await connection.monitoring.getEvent({ namespace, eventId }, call);
  if (format === 'json') return context.json(GetEventResponseSchema, response, 'document');
  const { event } = response;
  if (event === undefined) throw new CommandError('the service answered without an event');
  context.print(renderChain(response, event, style));
}

function eventFilter(options: EventOptions): EventFilter {
  const filter = create(EventFilterSchema, { agentIds: options.agent ?? [], types: options.type ?? [] });
  filter.causeId = options.cause ?? '';
  filter.actor = options.actor ?? '';
  if (options.severity !== undefined) filter.minSeverity = options.severity;
  if (options.since !== undefined) filter.startTime = timestampFromMs(options.since);
  if (options.until !== undefined) filter.endTime = timestampFromMs(options.until);
  return filter;
}

async function listEvents(context: Context, options: EventOptions): Promise<void> {
  if (options.cursor !== undefined) throw new UsageError('--cursor needs --follow');
  const response = await readEvents(context, eventFilter(options), options.limit ?? usualLimit);
  if (context.format === 'json') return context.json(ListEventsResponseSchema, response, 'document');
  if (response.events.length === 0) return context.note([dim('no events match')]);
  const wide = context.format === 'wide';
  const rows = response.events.map((event) => eventCells(event, wide));
  context.print(renderTable(wide ? wideEventColumns : eventColumns, rows, context.style));
  if (response.nextPageToken !== '') context.note([dim('there may be older ones: raise --limit')]);
}

/** Newest first, at most `limit`, as one response. */
async function readEvents(context: Context, filter: EventFilter, limit: number): Promise<ListEventsResponse> {
  const { connection, namespace, call } = context;
  const all = create(ListEventsResponseSchema);
  while (all.events.length < limit) {
    const page = await connection.monitoring.listEvents(
      {
        namespace,
        filter,
        pageSize: Math.min(pageSize, limit - all.events.length),
        pageToken: all.nextPageToken,
      },
      call,
    );
    all.events.push(...page.events);
    all.nextPageToken = page.nextPageToken;
    if (page.nextPageToken === '') break;
  }
  return all;
}

/** The watch begins first and the latest events are read after, so that none falls between the two. */
async function followEvents(context: Context, options: EventOptions): Promise<ExitCode> {
  if (options.until !== undefined) throw new UsageError('--follow has no end: leave --until out');
  const { connection, namespace, signal, timeoutMs } = context;
  const json = context.format === 'json';
  const filter = eventFilter(options);
  const limit = options.limit ?? (options.since === undefined ? usualTail : 1_000);
  const shown = new Set<string>();
  let before: Promise<void> | undefined =
    options.cursor === undefined && limit > 0 ? undefined : Promise.resolve();
  const show = (response: Parameters<typeof context.json<typeof WatchEventsResponseSchema>>[1]) => {
    const fresh = response.events.filter(({ id }) => !shown.delete(id));
    if (json) context.json(WatchEventsResponseSchema, { ...response, events: fresh }, 'line');
    else for (const event of fresh) context.say(eventLine(event));
  };
  const showBefore = async () => {
    const { events } = await readEvents(context, filter, limit);
    for (const { id } of events) shown.add(id);
    const response = create(WatchEventsResponseSchema, { events: events.reverse() });
    if (json) context.json(WatchEventsResponseSchema, response, 'line');
    else for (const event of events) context.say(eventLine(event));
  };
  await runWatch({
    open: (cursor, stop) =>
      connection.monitoring.watchEvents({ namespace, filter, cursor }, { signal: stop }),
    cursorOf: (response) => response.cursor,
    receive: async (response) => {
      before ??= showBefore();
      await before;
      show(response);
    },
    ...watchNotices(context),
    restart: json
      ? undefined
      : (error) =>
          context.note([
            bad('events were missed: '),
            plain(`the change log no longer reaches back to where this ended (${summarize(error)})`),
          ]),
    signal,
    firstWithinMs: timeoutMs,
    cursor: options.cursor ?? '',
  });
  return exitCodes.interrupted;
}
