// An agent that takes tasks: node dist/examples/typescript/worker.js 127.0.0.1:50051 worker-ts
// Each task is a list of words to count, and costs a token a word. Told {"words": [...], "seconds": 0.5}, it takes so long for
// each word: time to look on, to cancel, or to kill it.
import { setTimeout as sleep } from 'node:timers/promises';
// In a project of your own: from '@mycosoft/orchestrator/client'.
import { type AgentTask, BudgetSpentError, connectAgent, PermanentError } from '../../src/client/index.ts';

const [server = '127.0.0.1:50051', id = 'worker-ts'] = process.argv.slice(2);
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort());

/** A task came; what it resolves to is the task's output. */
async function count(task: AgentTask): Promise<object> {
  const { words, seconds = 0 } = (task.input ?? {}) as { words?: string[]; seconds?: number };
  if (!Array.isArray(words)) throw new PermanentError('the input must be {"words": [...]}');
  console.log(`task ${task.id} attempt ${task.attempt}: ${words.length} words`);
  const counts: Record<string, number> = {};
  for (const [done, word] of words.entries()) {
    try {
      if (task.budgets.tokens !== undefined) await task.spend({ tokens: 1 });
    } catch (error) {
      // Of a task that may go on without; else its signal fires.
      if (error instanceof BudgetSpentError) return { counts, left_out: words.length - done };
      throw error;
    }
    await sleep(seconds * 1_000, undefined, { signal: task.signal }); // the work; ends at once when it is cancelled
    counts[word] = (counts[word] ?? 0) + 1;
    task.progress(done + 1, words.length, 'words');
  }
  return { counts };
}

try {
  const agent = await connectAgent({
    server,
    id,
    spec: {
      displayName: 'TypeScript worker',
      kind: 'worker',
      version: '1.0',
      labels: { lang: 'typescript' },
      capabilities: [{ name: 'count-words', version: '1.0' }],
    },
    onTask: { 'count-words': count },
    concurrency: 2, // so many at a time; a drain waits for them and takes no more
    onState: ({ state, epoch, error }) => console.log(state, epoch ?? '', error?.message ?? ''),
    signal: stopping.signal,
  });
  stopping.signal.addEventListener('abort', () => void agent.leave('told to stop'));
  const error = await agent.closed;
  if (error !== undefined) throw error;
} catch (error) {
  if (!stopping.signal.aborted) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
