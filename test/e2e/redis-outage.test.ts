import { afterEach, describe, expect, it } from 'vitest';
import { AgentWatch } from '../support/agent-watch.ts';
import { listAgents, OutageRig, size } from '../support/redis-outage.ts';
import { type SentinelFleet, startSentinels } from '../support/redis-sentinel.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { until } from '../support/until.ts';

const TIMEOUT_MS = 60_000 + 2 * size.seconds * 1_000 + 30 * size.agents;

describe(`Redis away from ${size.agents} agents`, () => {
  let rig: OutageRig | undefined;
  let redis: RedisServer | undefined;
  let fleet: SentinelFleet | undefined;
  afterEach(async () => {
    await rig?.stop();
    await redis?.stop();
    await fleet?.stop();
    rig = redis = fleet = undefined;
  });

  it.each(['SIGSTOP', 'SIGKILL'] as const)(
    `for ${size.seconds} s by %s closes no stream and fells no verdict; all is current soon after its return`,
    async (signal) => {
      redis = await startRedis({ appendfsync: 'always' });
      rig = await OutageRig.start({ store: redis.url });
      const leaver = rig.agent('leaver');
      await leaver.join();
      const { epoch } = await rig.storeStatus();
      const watch = await AgentWatch.open(rig.api);
      await redis.kill(signal);
      leaver.session?.break();
      await rig.expectToStandFor(size.seconds * 1_000);
      expect((await rig.storeStatus()).pendingVerdicts).toBeGreaterThanOrEqual(1);
      if (signal === 'SIGSTOP') await redis.kill('SIGCONT');
      else await redis.restart();
      const returnedMs = performance.now();
      const took = await rig.untilCurrent(redis, returnedMs, 'written');
      expect((await rig.events(['agent.disconnected'])).map(({ agentId }) => agentId)).toEqual(['leaver']);
      await rig.expectUntouched(['leaver']);
      const after = await rig.storeStatus();
      if (signal === 'SIGSTOP') {
        // The same run of the same server lost nothing: watches just go on.
        expect(after.epoch).toBe(epoch);
        const heard = () => watch.livenessOf('leaver').includes('DISCONNECTED');
        await watch.until(heard, 'what became of the leaver');
        await watch.close();
      } else {
        expect(after.epoch).toBeGreaterThan(epoch);
        expect(await watch.ended).toMatchObject({ code: 11 }); // OUT_OF_RANGE
      }
      report(`away by ${signal}`, took);
    },
    TIMEOUT_MS,
  );

  it.each(['SIGKILL', 'SIGSTOP'] as const)(
    'with Sentinels, whose primary gets %s, is followed by every replica of the service, and nobody is judged',
    async (signal) => {
      fleet = await startSentinels({ redis: { appendfsync: 'always' } });
      await fleet.settled(2);
      const env = { ORCHESTRATOR_REDIS_MIN_REPLICAS: '1' };
      rig = await OutageRig.start({ store: fleet.url, replicas: 2, env });
      const before = await rig.storeStatus();
      expect(before).toMatchObject({ durability: 'replicated' });
      const watch = await AgentWatch.open(rig.api);
      const old = await fleet.master();
      const downMs = performance.now();
      await old.kill(signal);
      const next = await fleet.failedOver(old);
      const named = Math.round(performance.now() - downMs);
      // Before that no commit can be acknowledged, wherever it is.
      await fleet.replicated(next, 1);
      const replicated = Math.round(performance.now() - downMs);
      const took = await rig.untilCurrent(next, performance.now(), 'written');
      // The old one is back, and for a moment still thinks that it is the primary.
      if (signal === 'SIGKILL') await old.restart();
      else await old.kill('SIGCONT');
      await fleet.settled(2);
      await rig.expectUntouched();
      expect(await watch.ended).toMatchObject({ code: 11 }); // OUT_OF_RANGE
      for (const clients of rig.clients) {
        const { epoch, detail, durability } = await rig.storeStatus(clients);
        expect(epoch).toBe((await rig.storeStatus()).epoch);
        expect(epoch).toBeGreaterThan(before.epoch);
        expect(durability).toBe('replicated');
        expect(detail).toContain(`main at 127.0.0.1:${next.port}`);
        expect((await listAgents(clients)).filter(({ id }) => id.startsWith('written')).length).toBe(2);
      }
      report(`failover by ${signal}, named after ${named} ms, with a replica after ${replicated} ms`, took);
    },
    TIMEOUT_MS,
  );

  it(
    'and back with nothing gets the fleet again from its sessions; cursors are refused and epochs go on',
    async () => {
      redis = await startRedis();
      rig = await OutageRig.start({ store: redis.url });
      const before = await rig.storeStatus();
      const watch = await AgentWatch.open(rig.api);
      await redis.kill('SIGKILL');
      await rig.expectToStandFor(Math.min(size.seconds, 3) * 1_000);
      await redis.restart();
      const returnedMs = performance.now();
      const took = await rig.untilCurrent(redis, returnedMs, 'written');
      const restored = async () => (await rig?.events(['agent.restored']))?.length;
      await until(restored, (count) => count === size.agents, { what: 'all to be restored', everyMs: 50 });
      const all = Math.round(performance.now() - returnedMs);
      expect((await rig.storeStatus()).epoch).toBeGreaterThan(before.epoch);
      expect(await watch.ended).toMatchObject({ code: 11 });
      const { cursor } = watch;
      expect(await new AgentWatch(rig.api, { cursor }).ended).toMatchObject({ code: 11 });
      await rig.expectUntouched();
      const [first] = rig.agents;
      const epochs = await Promise.all(rig.sessions.map(async ({ welcome }) => (await welcome).epoch));
      first?.session?.break();
      const again = await first?.attach().welcome;
      expect(again?.epoch).toBeGreaterThan(highest(epochs));
      report(`empty, all restored after ${all} ms`, took);
    },
    TIMEOUT_MS,
  );

  it('and back with nothing after the service died as well: no epoch of a session comes again', async () => {
    redis = await startRedis();
    rig = await OutageRig.start({ store: redis.url });
    const epochs = await Promise.all(rig.sessions.map(async ({ welcome }) => (await welcome).epoch));
    await rig.service.kill('SIGKILL');
    await redis.restart();
    await rig.service.restart();
    const agent = rig.agent('kept-0');
    const welcome = await (await agent.join()).welcome;
    expect(welcome.epoch).toBeGreaterThan(highest(epochs));
  });
});

/** Figures are for people: the tests assert what is promised. */
function report(what: string, took: Record<string, number>): void {
  if (process.env.OUTAGE_AGENTS !== undefined) console.info(what, JSON.stringify(took));
}

const highest = (epochs: readonly bigint[]): bigint => epochs.toSorted((a, b) => Number(b - a))[0] ?? 0n;
