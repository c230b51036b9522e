import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import {
  GetSystemStatusResponseSchema,
  type SystemStatus,
  SystemStatus_State,
  WatchSystemStatusResponseSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { CommandError, type ExitCode, exitCodes, summarize } from '../errors.ts';
import { createLiveView, type LiveView } from '../output/live-view.ts';
import { renderStatus } from '../output/status.ts';
import { dim, plain, renderLine, warn } from '../output/text.ts';
import { formatMs } from '../output/time.ts';
import { parsePositiveDuration } from '../parse.ts';
import { runWatch, watchNotices } from '../watch.ts';

interface StatusOptions {
  watch?: boolean;
  interval?: number;
  check?: boolean;
}

export function addStatusCommand(program: Command, run: Runner): void {
  program
    .command('status')
    .description('how the fleet, the replicas and the store are')
    .option('-w, --watch', 'keep showing it')
    .option('--interval <duration>', 'with --watch: at most so often (100ms to 1h)', parsePositiveDuration)
    .option('--check', 'end with code 1 unless the state is OK')
    .action((options: StatusOptions, command: Command) =>
      run(command, (context) =>
        options.watch === true ? watchStatus(context, options) : showStatus(context, options),
      ),
    );
}

async function showStatus(context: Context, options: StatusOptions): Promise<ExitCode> {
  const { connection, namespace, call } = context;
  const response = await connection.monitoring.getSystemStatus({ namespace }, call);
  const { status } = response;
  if (status === undefined) throw new CommandError('the service answered without a status');
  if (context.format === 'json') context.json(GetSystemStatusResponseSchema, response, 'document');
  else context.print(renderStatus(status, context.style));
  return options.check === true && status.state !== SystemStatus_State.OK ? exitCodes.failed : exitCodes.ok;
}

/** On a terminal in place, elsewhere one block after the other. */
async function watchStatus(context: Context, options: StatusOptions): Promise<ExitCode> {
  const { connection, namespace, signal, timeoutMs } = context;
  const json = context.format === 'json';
  const minInterval = durationFromMs(options.interval ?? 1_000);
  const screen = !json && context.io.stdout.isTTY === true ? createScreen(context) : undefined;
  try {
    await runWatch({
      open: (_cursor, stop) =>
        connection.monitoring.watchSystemStatus({ namespace, minInterval }, { signal: stop }),
      cursorOf: () => '',
      receive: (response) => {
        if (json) context.json(WatchSystemStatusResponseSchema, response, 'line');
        else if (response.status === undefined) return;
        else if (screen !== undefined) screen.update(response.status);
        else context.print([...renderStatus(response.status, context.style), '']);
      },
      ...(screen === undefined ? watchNotices(context) : { broken: screen.broken, resumed: () => {} }),
      signal,
      firstWithinMs: timeoutMs,
    });
  } finally {
    screen?.end();
  }
  return exitCodes.interrupted;
}

interface Screen {
  update(status: SystemStatus): void;
  /** From now on the picture is shown as what it is: old. */
  broken(error: unknown): void;
  end(): void;
}

/** How often the age of the picture is redrawn, milliseconds. */
const redrawMs = 1_000;

function createScreen(context: Context): Screen {
  const view: LiveView = createLiveView(context.io.stdout);
  let latest: { status: SystemStatus; atMs: number } | undefined;
  let trouble: string | undefined;
  function draw(): void {
    if (latest === undefined) return;
    const ageMs = performance.now() - latest.atMs;
    const style = { ...context.style, columns: context.io.stdout.columns };
    if (trouble === undefined) {
      const received = `received ${formatMs(Math.round(ageMs / 1000) * 1000)} ago; Ctrl-C ends`;
      view.draw([...renderStatus(latest.status, style), '', renderLine([dim(received)], style)]);
      return;
    }
    // Above the old picture and without its colours, so that nobody takes its OK for one of now.
    const stale = [warn(`STALE: no news for ${formatMs(ageMs)}, trying again: `), plain(trouble)];
    const picture = renderStatus(latest.status, { ...style, colour: false });
    view.draw([renderLine(stale, style), '', ...picture]);
  }
  const timer = setInterval(draw, redrawMs);
  return {
    update(status) {
      latest = { status, atMs: performance.now() };
      trouble = undefined;
      draw();
    },
    broken(error) {
      trouble = summarize(error);
      draw();
    },
    end() {
      clearInterval(timer);
      view.end();
    },
  };
}
