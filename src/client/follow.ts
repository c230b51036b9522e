import type { DescMethodServerStreaming, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import type { AgentCalls } from './calls.ts';
import { AgentError, Code } from './errors.ts';
import { sleep } from './time.ts';

/** Errors of a watch after which it goes on from its cursor. */
const passing: ReadonlySet<number> = new Set([
  ...[Code.UNAVAILABLE, Code.CANCELLED, Code.INTERNAL, Code.UNKNOWN],
  ...[Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED],
]);

/**
 * What a watch tells, over reconnects, until the signal fires. A response comes once; `restart`: the service no longer has what
 * follows the last one, and the next begins with a snapshot.
 */
export async function* follow<M extends DescMethodServerStreaming>(
  calls: AgentCalls,
  method: M,
  request: (cursor: string) => MessageInitShape<M['input']>,
  cursorOf: (response: MessageShape<M['output']>) => string,
  signal: AbortSignal,
): AsyncGenerator<{ kind: 'restart' } | { kind: 'news'; news: MessageShape<M['output']> }, void, undefined> {
  let cursor = '';
  let told = false;
  while (!signal.aborted) {
    try {
      const at = await calls.attachment(signal);
      if (told && cursor === '') yield { kind: 'restart' };
      const responses = at.transport.stream(method, request(cursor), {
        token: at.token,
        signal: AbortSignal.any([signal, at.ended]),
      });
      for await (const news of responses) {
        told = true;
        yield { kind: 'news', news };
        cursor = cursorOf(news) || cursor;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof AgentError)) throw error;
      if (error.code === Code.OUT_OF_RANGE && cursor !== '') cursor = '';
      else if (!passing.has(error.code) || error.reason === 'closed') throw error;
      await sleep(Math.max(error.retryAfterMs ?? 0, 250), signal);
    }
  }
}
