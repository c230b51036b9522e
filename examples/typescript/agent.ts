// A complete agent with the SDK: node dist/examples/typescript/agent.js 127.0.0.1:50051 ts-1
import { setTimeout as sleep } from 'node:timers/promises';
// In a project of your own: from '@mycosoft/orchestrator/client'.
import { type AgentHandle, connectAgent } from '../../src/client/index.ts';

const [server = '127.0.0.1:50051', id = 'ts-1'] = process.argv.slice(2);
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort());

let working = true;
function take(work: boolean): void {
  working = work;
}

/** Your agent; here it "reads" ten pages a second, as long as it shall and the work is still its own. */
async function work(agent: AgentHandle): Promise<void> {
  for (let pages = 0; !stopping.signal.aborted && agent.state !== 'closed'; await sleep(100)) {
    if (working && !agent.leaseSignal.aborted) agent.progress('pages', ++pages);
  }
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
    report: () => ({ activity: working ? 'summarizing' : 'drained', load: 0.3 }),
    onCommand: { drain: () => take(false), resume: () => take(true) }, // "stop" leaves and ends by itself
    onState: ({ state, epoch, error }) => console.log(state, epoch ?? '', error?.message ?? ''),
    signal: stopping.signal,
  });
  await work(agent);
  await agent.leave('told to stop');
  const error = await agent.closed;
  if (error !== undefined) throw error;
} catch (error) {
  if (!stopping.signal.aborted) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
