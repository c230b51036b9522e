import { Redis } from 'ioredis';
import { afterEach, describe, expect, it } from 'vitest';
import { type Failure, failureOf } from '../support/clients.ts';
import { Stack } from '../support/stack.ts';
import { until } from '../support/until.ts';

const annotations = Object.fromEntries(Array.from({ length: 7 }, (_, i) => [`a${i}`, 'x'.repeat(4000)]));

describe('a store that is full', () => {
  let stack: Stack;
  afterEach(async () => {
    await stack?.dispose();
  });

  /** Registers big agents until one is refused. */
  async function fill(): Promise<{ acknowledged: string[]; failure: Failure }> {
    const acknowledged: string[] = [];
    for (let i = 0; i < 5000; i++) {
      const call = stack.clients.agents.registerAgent({ agentId: `big-${i}`, spec: { annotations } });
      const failure = await call.then(
        () => undefined,
        () => failureOf(call),
      );
      if (failure !== undefined) return { acknowledged, failure };
      acknowledged.push(`big-${i}`);
    }
    throw new Error('the store never became full');
  }

  /** Operators read why in the log: a line, not a line for each refusal. It may come after the answer. */
  async function isLogged(): Promise<void> {
    const said = (): number =>
      stack.service.logs
        .filter(({ level }) => level === 'warn' || level === 'error')
        .filter((line) => /full|memory|space/i.test(JSON.stringify(line))).length;
    await until(said, (count) => count >= 1);
    expect(said(), stack.service.transcript()).toBeLessThanOrEqual(3);
  }

  async function allAreThere(ids: readonly string[]): Promise<void> {
    for (const agentId of ids) await stack.clients.agents.getAgent({ agentId });
    const { totalSize } = await stack.clients.agents.listAgents({ pageSize: 1 });
    expect(totalSize).toBe(ids.length);
  }

  it('refuses with STORE_FULL on LMDB, loses nothing, and serves reads and sessions on', async () => {
    // What the process may write to one file stands for a full disk: the write fails in the same place.
    stack = await Stack.start('lmdb', { fileSizeLimitKb: 8 * 1024 });
    const witness = await stack.agent({ id: 'witness' }).join();
    const { acknowledged, failure } = await fill();
    expect(failure).toMatchObject({ code: 'ResourceExhausted', reason: 'STORE_FULL' });
    await isLogged();
    await allAreThere([...acknowledged, 'witness']);
    const pings = witness.pings.length;
    await until(
      () => witness.pings.length,
      (now) => now > pings + 3,
    );
    expect(witness.goAway).toBeUndefined();
    await stack.restart();
    await allAreThere([...acknowledged, 'witness']);
  }, 60_000);

  it('refuses with STORE_FULL on Redis out of memory, and recovers when there is room again', async () => {
    stack = await Stack.start('redis', {
      redis: { args: ['--maxmemory', '12mb', '--maxmemory-policy', 'noeviction'] },
    });
    const witness = await stack.agent({ id: 'witness' }).join();
    const { acknowledged, failure } = await fill();
    expect(failure).toMatchObject({ code: 'ResourceExhausted', reason: 'STORE_FULL' });
    await isLogged();
    await allAreThere([...acknowledged, 'witness']);
    expect(witness.goAway).toBeUndefined();
    const admin = new Redis(stack.redis?.url ?? '');
    await admin.config('SET', 'maxmemory', '64mb');
    admin.disconnect();
    await stack.clients.agents.registerAgent({ agentId: 'late' });
    await allAreThere([...acknowledged, 'witness', 'late']);
  }, 60_000);
});
