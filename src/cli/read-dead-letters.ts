import type { DeadLetter } from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { Context } from './context.ts';
import { CommandError } from './errors.ts';

export interface DeadLetterFilter {
  agent?: string;
  reason?: string[];
}

const pageSize = 500;

/** Page after page. */
export async function* deadLetters(
  context: Context,
  { agent, reason }: DeadLetterFilter,
): AsyncGenerator<DeadLetter, void, undefined> {
  const { connection, namespace, call } = context;
  const reasons = reason && new Set(reason);
  let pageToken = '';
  do {
    const page = await connection.messages.listDeadLetters(
      { namespace, agentId: agent ?? '', pageSize, pageToken },
      call,
    );
    for (const letter of page.deadLetters) if (reasons?.has(letter.reason) ?? true) yield letter;
    if (page.nextPageToken !== '' && page.nextPageToken === pageToken)
      throw new CommandError('the service answered with the same page again');
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}
