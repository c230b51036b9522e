// A complete agent with the SDK: node dist/examples/typescript/agent.js 127.0.0.1:50051 ts-1
import { setTimeout as sleep } from 'node:timers/promises';
// In a project of your own: from '@mycosoft/orchestrator/client'.
import { AgentError, connectAgent } from '../../src/client/index.ts';

const [server = '127.0.0.1:50051', id = 'ts-1'] = process.argv.slice(2);
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort());

/** Your agent; here it "reads" ten pages a second, as long as the work is still its own. */
async function work(progress: (pages: number) => void, mayWork: () => boolean): Promise<void> {
  for (let pages = 0; !stopping.signal.aborted; await sleep(100)) if (mayWork()) progress(++pages);
}

try {
  const agent = await connectAgent({
    server,
    id,
    spec: {
      displayName: 'TypeScript example',
      kind: 'summarizer',
      version: '1.0',
      labels: { lang: 'typescript' },
      capabilities: [{ name: 'summarize', inputTypes: ['text/plain'] }],
      activities: [{ name: 'summarizing', progressBudget: { seconds: 30n } }],
    },
    report: () => ({ activity: 'summarizing', load: 0.3 }),
    onState: ({ state, epoch, error }) =>
      console.log(state, ...(epoch === undefined ? [] : [`epoch=${epoch}`]), error?.message ?? ''),
    signal: stopping.signal,
  });
  const progress = (pages: number) => agent.progress('pages', pages);
  const working = work(progress, () => !agent.leaseSignal.aborted);
  const end = await Promise.race([agent.closed, working]);
  await agent.leave('told to stop');
  if (end instanceof AgentError) throw end;
} catch (error) {
  if (!stopping.signal.aborted) {
    console.error(error instanceof AgentError ? error.message : error);
    process.exitCode = 1;
  }
}
process.exit();
