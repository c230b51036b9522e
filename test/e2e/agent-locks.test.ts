import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AgentHandle, connectAgent } from '../../src/client/index.ts';
import { Stack } from '../support/stack.ts';
import { until, within } from '../support/until.ts';

let stack: Stack;
let agents: AgentHandle[];
beforeEach(async () => {
  stack = await Stack.start('lmdb');
  agents = [];
});
afterEach(async () => {
  await Promise.all(agents.map((agent) => agent.close()));
  await stack.dispose();
});

async function attach(id: string): Promise<AgentHandle> {
  const backoff = { backoffBaseMs: 100, backoffCapMs: 500 };
  const agent = await connectAgent({ server: stack.service.grpc, id, spec: { kind: 'test' }, ...backoff });
  agents.push(agent);
  return agent;
}

describe('agents that share, through the SDK', () => {
  it('one after the other under a lock, over a restart of the service: no increment is lost', async () => {
    const pair = [await attach('one'), await attach('two')];
    const tokens: bigint[] = [];
    let restarted: Promise<void> | undefined;
    const turns = pair.map(async (agent) => {
      for (let turn = 0; turn < 5; turn += 1) {
        await agent.withLock('l', {}, async ({ fencingToken }) => {
          tokens.push(fencingToken);
          const entry = await agent.shared.get('n');
          const n = entry?.value?.data.case === 'text' ? Number(entry.value.data.value) : 0;
          if (n === 3) restarted = stack.restart();
          await agent.shared.put('n', `${n + 1}`, { ifRevision: entry?.revision ?? 0n });
        });
      }
    });
    await within(Promise.all(turns), 30_000, 'ten turns');
    await restarted;
    const entry = await pair[0]?.shared.get('n');
    expect(entry?.value?.data.value).toBe('10');
    expect(tokens).toEqual([...tokens].sort((a, b) => (a < b ? -1 : 1)));
    expect(new Set(tokens).size).toBe(10);
  });

  it('a waiter gets the lock of an agent that leaves, and a watcher hears of its bound entry', async () => {
    const [holder, waiter] = [await attach('holder'), await attach('waiter')];
    const heard: string[] = [];
    const stop = new AbortController();
    const watching = (async () => {
      for await (const change of waiter.shared.watch('who/', { signal: stop.signal }))
        heard.push(change.kind);
    })();
    await holder.shared.put('who/leads', 'holder', { bind: true });
    let lost: AbortSignal | undefined;
    const held = holder.withLock('l', {}, ({ signal }) => {
      lost = signal;
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve('stopped')));
    });
    await until(() => lost, Boolean, { what: 'the lock to be held' });
    const next = waiter.withLock('l', { waitMs: 20_000 }, ({ fencingToken }) => fencingToken);
    await holder.leave();
    expect(await held).toBe('stopped');
    expect(lost?.reason).toMatchObject({ reason: 'lock_lost' });
    expect(await next).toBeGreaterThan(0n);
    await until(() => heard.includes('removed'), Boolean, { what: 'the bound entry to go' });
    stop.abort();
    await watching;
    expect(heard.filter((kind) => kind !== 'synced')).toEqual(['put', 'removed']);
  });
});
