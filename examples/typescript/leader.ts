// Two of these, and one leads: node dist/examples/typescript/leader.js 127.0.0.1:50051 cand-1
import { setTimeout as sleep } from 'node:timers/promises';
// In a project of your own: from '@mycosoft/orchestrator/client'.
import { connectAgent } from '../../src/client/index.ts';

const [server = '127.0.0.1:50051', id = 'cand-1'] = process.argv.slice(2);
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort());

const agent = await connectAgent({ server, id, spec: { kind: 'candidate' }, signal: stopping.signal });
const { signal } = stopping;
while (!signal.aborted) {
  try {
    await agent.withLock('leader', { value: id, lockDelayMs: 1_000, signal }, async (lock) => {
      console.log(`leads with fencing token ${lock.fencingToken}`);
      while (!lock.signal.aborted) {
        // Whatever the leader writes, it writes with its token. Here: how often it was there.
        const entry = await agent.shared.get('leader/terms');
        const terms = entry?.value?.data.case === 'text' ? Number(entry.value.data.value) : 0;
        await agent.shared.put('leader/terms', `${terms + 1}`, { ifRevision: entry?.revision ?? 0n });
        await sleep(1_000, undefined, { signal: lock.signal }).catch(() => {});
      }
    });
  } catch (error) {
    if (signal.aborted || agent.state === 'closed') break;
    console.log('not the leader:', error instanceof Error ? error.message : error);
    await sleep(1_000, undefined, { signal }).catch(() => {});
  }
}
await agent.leave('told to stop');
