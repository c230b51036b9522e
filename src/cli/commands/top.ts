import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import {
  WatchLiveRequest_Part as Part,
  WatchLiveResponseSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { type ExitCode, exitCodes, summarize } from '../errors.ts';
import { renderStatus } from '../output/status.ts';
import { dim } from '../output/text.ts';
import { parsePositiveDuration } from '../parse.ts';
import { drawFrame } from '../top/frame.ts';
import { FIRST_LOOK, keysOf, type Look, press } from '../top/keys.ts';
import { TopModel } from '../top/model.ts';
import { openScreen } from '../top/screen.ts';
import { viewRows } from '../top/views.ts';
import { runWatch, watchNotices } from '../watch.ts';

interface TopOptions {
  interval?: number;
}

/** News are drawn together with those that come within this time. */
const GATHER_MS = 100;
/** The ages of what is shown grow also without news. */
const REDRAW_MS = 1000;
const RECENT_EVENTS = 200;
/** How long may pass until all agents were told, where the whole is printed once. */
const WHOLE_MS = 10_000;

export function addTopCommand(program: Command, run: Runner): void {
  program
    .command('top')
    .description('a live view over the whole terminal: agents, alerts, events, replicas and services')
    .option(
      '--interval <duration>',
      'readings at most so often (default 1s; 250ms to 1m)',
      parsePositiveDuration,
    )
    .addHelpText(
      'after',
      '\nKeys: q quit, tab the next view, s sort, r reverse, / filter, arrows scroll, p hold, ? help.\nWhere there is no terminal the picture is printed once; with --output json the stream as it comes.',
    )
    .action((options: TopOptions, command: Command) =>
      run(command, (context) => {
        if (context.format === 'json') return stream(context, options);
        const isTerminal = context.io.stdout.isTTY === true && context.io.stdin.isTTY === true;
        return isTerminal ? watch(context, options) : printOnce(context, options);
      }),
    );
}

const request = ({ namespace }: Context, { interval }: TopOptions) => ({
  namespace,
  parts: [Part.STATUS, Part.AGENTS, Part.ALERTS, Part.EVENTS],
  minInterval: durationFromMs(interval ?? 1000),
  recentEvents: RECENT_EVENTS,
});

async function stream(context: Context, options: TopOptions): Promise<ExitCode> {
  const { connection, signal, timeoutMs } = context;
  await runWatch({
    open: (_cursor, stop) => connection.monitoring.watchLive(request(context, options), { signal: stop }),
    cursorOf: () => '',
    receive: (response) => context.json(WatchLiveResponseSchema, response, 'line'),
    ...watchNotices(context),
    signal,
    firstWithinMs: timeoutMs,
  });
  return exitCodes.interrupted;
}

async function watch(context: Context, options: TopOptions): Promise<ExitCode> {
  const { connection, signal, timeoutMs } = context;
  const model = new TopModel();
  const quit = new AbortController();
  let look: Look = FIRST_LOOK;
  let page = 1;
  let trouble: string | undefined;
  let pending: NodeJS.Timeout | undefined;
  const draw = (): void => {
    clearTimeout(pending);
    pending = undefined;
    const style = { colour: context.style.colour, columns: screen.columns };
    const frame = drawFrame(model, look, { style, rows: screen.rows, nowMs: performance.now(), trouble });
    look = { ...look, offset: frame.offset };
    page = frame.page;
    screen.draw(frame.lines);
  };
  const news = (): void => {
    if (!look.paused) pending ??= setTimeout(draw, GATHER_MS);
  };
  const screen = openScreen({
    io: context.io,
    onResize: draw,
    onInput: (text) => {
      for (const key of keysOf(text)) {
        const deed = press(key, look, page);
        if (deed.kind === 'quit') return quit.abort();
        if (deed.kind === 'suspend') return screen.suspend();
        if (deed.kind === 'redraw') screen.spoilt();
        if (deed.kind === 'look') look = deed.look;
      }
      draw();
    },
  });
  const forward = (): void => quit.abort();
  signal.addEventListener('abort', forward, { once: true });
  const timer = setInterval(() => {
    if (!look.paused) draw();
  }, REDRAW_MS);
  try {
    draw();
    await runWatch({
      open: (_cursor, stop) => connection.monitoring.watchLive(request(context, options), { signal: stop }),
      cursorOf: () => '',
      receive: (response) => {
        trouble = undefined;
        model.apply(response, performance.now());
        news();
      },
      broken: (error) => {
        trouble = `${summarize(error)}; trying again`;
        draw();
      },
      resumed: () => {},
      anew: () => model.anew(),
      signal: quit.signal,
      firstWithinMs: timeoutMs,
    });
  } finally {
    clearInterval(timer);
    clearTimeout(pending);
    signal.removeEventListener('abort', forward);
    screen.close();
  }
  return signal.aborted ? exitCodes.interrupted : exitCodes.ok;
}

/** The status and all agents, for a file or another program. */
async function printOnce(context: Context, options: TopOptions): Promise<ExitCode> {
  const { connection, signal, timeoutMs, style } = context;
  const model = new TopModel();
  const done = new AbortController();
  const forward = (): void => done.abort();
  signal.addEventListener('abort', forward, { once: true });
  const timer = setTimeout(forward, WHOLE_MS);
  try {
    await runWatch({
      open: (_cursor, stop) => connection.monitoring.watchLive(request(context, options), { signal: stop }),
      cursorOf: () => '',
      receive: (response) => {
        model.apply(response, performance.now());
        if (model.status !== undefined && model.synced) done.abort();
      },
      ...watchNotices(context),
      signal: done.signal,
      firstWithinMs: timeoutMs,
    });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', forward);
  }
  if (signal.aborted) return exitCodes.interrupted;
  if (model.status !== undefined) context.print([...renderStatus(model.status, style), '']);
  if (!model.synced) context.note([dim('not all agents came in time')]);
  context.print(viewRows(model, FIRST_LOOK, style, performance.now()));
  return exitCodes.ok;
}
