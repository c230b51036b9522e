import { pino } from 'pino';
import type { Logger } from '../lib/logger.ts';
import { prettyLine } from './pretty.ts';
import { scrub } from './scrub.ts';

/** Where lines go. */
export interface LogDestination {
  /** One JSON object and a line feed, or what `pretty` made of it. */
  write(line: string): void;
}

export interface LoggerOptions {
  /** trace, debug, info, warn, error or silent. */
  level: string;
  /** "auto": pretty if the standard output is a terminal. */
  format: 'json' | 'pretty' | 'auto';
  /** Default: the standard output, written synchronously. */
  destination?: LogDestination;
  /** Colours in pretty lines; default: on a terminal without NO_COLOR. */
  colours?: boolean;
  /** Fields added to every line, such as the ids of the active span. */
  mixin?: () => object | undefined;
  /** Told every JSON line as well. */
  tee?: (line: string) => void;
}

const SECRETS = ['token', 'authorization', 'password', 'agent_token', 'agentToken', 'secret'];
/** At the top and up to three objects deep, also in the bindings of children. */
const REDACTED = ['', '*.', '*.*.', '*.*.*.'].flatMap((prefix) => SECRETS.map((name) => prefix + name));

const LONGEST_MESSAGE = 2_000;
const LONGEST_STACK = 8_000;
const DEEPEST_CAUSE = 3;

/** A pino logger: ISO times, level names, errors with their causes, and no secrets. */
export function createLogger(options: LoggerOptions): Logger {
  const { mixin } = options;
  return pino(
    {
      level: options.level,
      // Process id and host are the collector's business.
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: (error: unknown) => errorFields(error) },
      redact: { paths: REDACTED, censor: '[redacted]' },
      hooks: { streamWrite: scrub },
      ...(mixin === undefined ? {} : { mixin: () => mixin() ?? {} }),
    },
    stream(options),
  );
}

function stream(options: LoggerOptions): LogDestination {
  const terminal = options.destination === undefined && process.stdout.isTTY === true;
  const destination = options.destination ?? pino.destination({ dest: 1, sync: true });
  const pretty = options.format === 'pretty' || (options.format === 'auto' && terminal);
  const colours = options.colours ?? (terminal && (process.env.NO_COLOR ?? '') === '');
  const { tee } = options;
  if (!pretty && tee === undefined) return destination;
  return {
    write: (line) => {
      destination.write(pretty ? prettyLine(line, colours) : line);
      tee?.(line);
    },
  };
}

interface ErrorFields {
  type: string;
  message: string;
  code?: string;
  stack?: string;
  cause?: unknown;
}

/** Only these: drivers hang commands and their arguments on errors. */
function errorFields(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return error;
  const fields: ErrorFields = { type: error.name, message: error.message.slice(0, LONGEST_MESSAGE) };
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'string' || typeof code === 'number') fields.code = String(code);
  if (error.stack !== undefined) fields.stack = error.stack.slice(0, LONGEST_STACK);
  if (error.cause !== undefined && depth < DEEPEST_CAUSE) {
    fields.cause = error.cause instanceof Error ? errorFields(error.cause, depth + 1) : String(error.cause);
  }
  return fields;
}
