import { createHash, randomUUID } from 'node:crypto';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Context } from './context.ts';
import { readErrorDetails } from './error-details.ts';
import { plain } from './output/text.ts';

/** Says how to repeat a write whose outcome is not known, so that it happens once. */
export async function withRequestId<Result>(
  context: Context,
  given: string | undefined,
  write: (requestId: string) => Promise<Result>,
): Promise<Result> {
  const requestId = given ?? randomUUID();
  try {
    return await write(requestId);
  } catch (error) {
    if (mayHaveHappened(error)) adviseRepeat(context, requestId);
    throw error;
  }
}

export function adviseRepeat(context: Context, requestId: string): void {
  context.note([
    plain(`it may or may not have happened; to be sure, repeat it with --request-id ${requestId}`),
  ]);
}

/** Whether a write that failed so may be stored all the same. */
export function mayHaveHappened(error: unknown): boolean {
  if (!(error instanceof ConnectError)) return false;
  const { reason } = readErrorDetails(error);
  if (reason !== '') return reason === 'OUTCOME_UNKNOWN';
  return error.code === Code.DeadlineExceeded || error.code === Code.Canceled || error.code === Code.Internal;
}

/** Of one id for a command, an id for each of the calls that it makes; the same ones each time. */
export function partOfRequestId(requestId: string, part: string): string {
  return createHash('sha256').update(`${requestId}\n${part}`).digest('hex');
}
