import { Code, ConnectError } from '@connectrpc/connect';
import { type ErrorDetails, readErrorDetails } from './error-details.ts';
import { bad, dim, type Line, plain } from './output/text.ts';
import { formatMs } from './output/time.ts';

/** What a command's end says to a script. docs/cli.md lists them. */
export const exitCodes = {
  ok: 0,
  /** Refused, unavailable or out of time. */
  failed: 1,
  /** Wrong arguments or configuration, also where the service found them wrong. */
  usage: 2,
  notFound: 3,
  /** It is already so, or somebody else was faster. */
  conflict: 4,
  /** The token is missing or not the right one. */
  denied: 5,
  /** A task that was waited for was cancelled. */
  cancelled: 6,
  /** A task that was waited for had not ended at its deadline. */
  timedOut: 7,
  /** Ctrl-C. */
  interrupted: 130,
} as const;

export type ExitCode = number;

/** The user asked for something that cannot be asked. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** It did not work, and the message says why. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

export interface ErrorReport {
  lines: Line[];
  exitCode: ExitCode;
}

/** What to tell of an error: one clear line, the violated fields one a line, and what may help. */
export function reportError(error: unknown, address: string | undefined): ErrorReport {
  if (error instanceof ConnectError) return reportCall(error, address);
  const message = error instanceof Error ? error.message : String(error);
  return {
    lines: [headline(message)],
    exitCode: error instanceof UsageError ? exitCodes.usage : exitCodes.failed,
  };
}

/** The same of a failed call in one phrase, for notices. */
export function summarize(error: unknown): string {
  if (!(error instanceof ConnectError)) return error instanceof Error ? error.message : String(error);
  const connection = connectionTrouble(error);
  const { reason } = readErrorDetails(error);
  return (
    connection ??
    (reason === '' ? error.rawMessage || codeName(error.code) : `${error.rawMessage} (${reason})`)
  );
}

function reportCall(error: ConnectError, address: string | undefined): ErrorReport {
  const connection = connectionTrouble(error);
  if (connection !== undefined) {
    return {
      lines: [
        headline(`cannot reach ${address ?? 'the service'}: ${connection}`),
        hint(
          connection.startsWith('TLS')
            ? '--ca-file names the authorities to trust'
            : 'is the service running there? --server or ORCHESTRATOR_SERVER names another address',
        ),
      ],
      exitCode: exitCodes.failed,
    };
  }
  const details = readErrorDetails(error);
  const lines = [headline(wording(error, details, address), details.reason || codeName(error.code))];
  for (const { field, description } of details.violations) {
    lines.push([plain('  '), { text: field, tone: 'strong' }, plain(`: ${description}`)]);
  }
  const found = Object.entries(details.metadata)
    .filter(([key]) => key !== 'error') // stands in the message
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');
  if (found !== '') lines.push(hint(found));
  if (error.code === Code.DeadlineExceeded) lines.push(hint('--timeout allows more time'));
  if (details.retryAfterMs !== undefined) {
    lines.push(hint(`the same may work after ${formatMs(details.retryAfterMs)}`));
  }
  return { lines, exitCode: codeExit(error.code) };
}

/** The service's own words; the transport's where it said nothing. */
function wording(
  error: ConnectError,
  { reason, violations }: ErrorDetails,
  address: string | undefined,
): string {
  // The service's message has them all on one line; here they follow one a line.
  if (violations.length === 1) return 'a field is not as it must be';
  if (violations.length > 1) return `${violations.length} fields are not as they must be`;
  if (error.code === Code.DeadlineExceeded && reason === '')
    return `no answer from ${address ?? 'the service'} in time`;
  return error.rawMessage || 'the call failed';
}

function headline(message: string, reason?: string): Line {
  return [bad('error: '), plain(message), ...(reason === undefined ? [] : [dim(` (${reason})`)])];
}

function hint(text: string): Line {
  return [dim(`  ${text}`)];
}

function codeExit(code: Code): ExitCode {
  switch (code) {
    case Code.InvalidArgument:
      return exitCodes.usage;
    case Code.NotFound:
      return exitCodes.notFound;
    case Code.AlreadyExists:
    case Code.Aborted:
    case Code.FailedPrecondition:
      return exitCodes.conflict;
    case Code.Unauthenticated:
    case Code.PermissionDenied:
      return exitCodes.denied;
    default:
      return exitCodes.failed;
  }
}

/** gRPC's name of a status code: DEADLINE_EXCEEDED. */
export function codeName(code: Code): string {
  return (Code[code] ?? `CODE_${code}`).replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();
}

/** Words for a connection that could not be had; undefined if the service itself answered. */
function connectionTrouble(error: ConnectError): string | undefined {
  for (let cause: unknown = error.cause, depth = 0; cause instanceof Error && depth < 5; depth++) {
    const code = 'code' in cause ? String(cause.code) : '';
    const words = connectionWords[code];
    if (words !== undefined) return words;
    if (/CERT|TLS|SSL|ALPN|SELF_SIGNED|ISSUER/.test(code)) return `TLS: ${cause.message} (${code})`;
    cause = cause instanceof AggregateError ? cause.errors[0] : cause.cause;
  }
  // So the transport says that a connection ended under a call that nobody here ended.
  return error.code === Code.Canceled && /^http\/2 /.test(error.rawMessage)
    ? connectionWords.EPIPE
    : undefined;
}

const connectionWords: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was closed',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the name cannot be resolved now',
  EHOSTUNREACH: 'no route to that host',
  ENETUNREACH: 'no route to that network',
  ETIMEDOUT: 'no answer',
  ERR_HTTP2_ERROR: 'what answers does not speak HTTP/2: is that the gRPC port?',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS: leave https:// out',
};
