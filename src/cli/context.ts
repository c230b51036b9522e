import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import type { CallOptions } from '@connectrpc/connect';
import { type Command, Option } from 'commander';
import { type Connection, createConnection, defaultServer } from './client.ts';
import type { ExitCode } from './errors.ts';
import { type CliIo, type ColourChoice, styleOf } from './io.ts';
import { messageJson } from './output/json.ts';
import { type Line, renderLine, type Style } from './output/text.ts';
import { parsePositiveDuration } from './parse.ts';

export type Format = 'table' | 'wide' | 'json';

/** What every command gets. */
export interface Context {
  readonly io: CliIo;
  readonly connection: Connection;
  readonly format: Format;
  readonly namespace: string;
  /** For one call, milliseconds. */
  readonly timeoutMs: number;
  /** Whether that was asked for, so that it may bound more than one call. */
  readonly timeoutGiven: boolean;
  /** Fires on Ctrl-C. */
  readonly signal: AbortSignal;
  /** For unary calls: bounded in time, ended by Ctrl-C. */
  readonly call: CallOptions;
  /** How to write to stdout. */
  readonly style: Style;
  /** How to write to stderr. */
  readonly noticeStyle: Style;
  /** Writes rendered lines to stdout. */
  print(lines: readonly string[]): void;
  /** Writes one line to stdout. */
  say(line: Line): void;
  /** Writes one line to stderr: notices, which must not mix with what programs read. */
  note(line: Line): void;
  /** Writes a message as JSON to stdout. */
  json<Desc extends DescMessage>(
    schema: Desc,
    message: MessageShape<Desc>,
    layout: 'document' | 'line',
  ): void;
}

/** Runs a command's work with a context, and keeps what it says as the exit code (nothing: 0). */
export type Runner = (
  command: Command,
  // biome-ignore lint/suspicious/noConfusingVoidType: most commands end without an exit code of their own
  work: (context: Context) => Promise<ExitCode | void>,
) => Promise<void>;

interface GlobalOptions {
  server?: string;
  caFile?: string;
  namespace?: string;
  timeout: number;
  output: Format;
  color: ColourChoice;
}

/** The options that every command takes. */
export function addGlobalOptions(program: Command): void {
  program
    .option(
      '--server <address>',
      `gRPC address of the service (env ORCHESTRATOR_SERVER; default ${defaultServer})`,
    )
    .option('--ca-file <pem>', 'authorities to trust, with a server that begins with https://')
    .option('-n, --namespace <name>', 'namespace (env ORCHESTRATOR_NAMESPACE; default "default")')
    .addOption(
      new Option('--timeout <duration>', 'how long a call may take')
        .argParser(parsePositiveDuration)
        .default(10_000, '10s'),
    )
    .addOption(
      new Option('-o, --output <format>', 'for people or for programs')
        .choices(['table', 'wide', 'json'])
        .default('table'),
    )
    .addOption(new Option('--color <when>', 'colours').choices(['auto', 'always', 'never']).default('auto'));
}

/** Which colours a command's options ask for, also before its context exists. */
export function colourChoice(program: Command): ColourChoice {
  return program.opts<GlobalOptions>().color;
}

/** The context of one command. Throws UsageError. */
export function createContext(command: Command, io: CliIo): Context {
  const options = command.optsWithGlobals<GlobalOptions>();
  const style = styleOf(io.stdout, io.env, options.color);
  const noticeStyle = styleOf(io.stderr, io.env, options.color);
  const signal = io.interrupted();
  const write = (lines: readonly string[]) => {
    if (lines.length > 0) io.stdout.write(`${lines.join('\n')}\n`);
  };
  return {
    io,
    connection: createConnection({
      server: options.server ?? (io.env.ORCHESTRATOR_SERVER || defaultServer),
      caFile: options.caFile,
    }),
    format: options.output,
    namespace: options.namespace ?? io.env.ORCHESTRATOR_NAMESPACE ?? '',
    timeoutMs: options.timeout,
    timeoutGiven: command.getOptionValueSourceWithGlobals('timeout') !== 'default',
    signal,
    call: { timeoutMs: options.timeout, signal },
    style,
    noticeStyle,
    print: write,
    say: (line) => write([renderLine(line, style)]),
    note: (line) => {
      io.stderr.write(`${renderLine(line, { ...noticeStyle, columns: undefined })}\n`);
    },
    json: (schema, message, layout) => write([messageJson(schema, message, layout)]),
  };
}
