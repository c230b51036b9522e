import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { scratch } from '../store-admin/support.ts';
import { CliProcess } from '../support/cli-process.ts';
import { bearer, type Clients, connectClients, failureOf } from '../support/clients.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { ServiceProcess } from '../support/service.ts';
import { SimAgent } from '../support/sim-agent.ts';
import { fastTimes } from '../support/stack.ts';

const password = 'pass:word@1';
const agentIds = ['a-1', 'a-2', 'a-3'];

let redis: RedisServer;
let inRedis: string;
beforeEach(async () => {
  redis = await startRedis({ args: ['--requirepass', password] });
  inRedis = `redis://:${encodeURIComponent(password)}@127.0.0.1:${redis.port}`;
});
afterEach(() => redis.stop());

/** Works with a service that is stopped in order afterwards. */
async function withService<T>(
  store: string,
  work: (service: ServiceProcess, clients: Clients) => Promise<T>,
): Promise<T> {
  const service = await ServiceProcess.start({ store, env: fastTimes });
  const clients = connectClients(service.grpc);
  try {
    const result = await work(service, clients);
    clients.close();
    expect(await service.kill('SIGTERM')).toEqual({ code: 0, signal: null });
    return result;
  } finally {
    clients.close();
    await service.stop();
  }
}

/** Attaches an agent, returns the epoch of its session, and leaves. */
async function attach(service: ServiceProcess, id: string, token?: string) {
  const agent = new SimAgent({ via: service.grpc, id });
  try {
    if (token === undefined) await agent.register();
    else agent.token = token;
    const session = agent.attach();
    const { epoch } = await session.welcome;
    await session.leave();
    return { epoch, token: agent.token ?? '' };
  } finally {
    agent.close();
  }
}

const seen = async ({ agents, monitoring }: Clients) => ({
  agents: (await agents.listAgents({})).agents.map(({ id, uid, revision }) => ({ id, uid, revision })),
  events: (await monitoring.listEvents({ pageSize: 100 })).events.map(({ id, type }) => ({ id, type })),
});

describe('a fleet whose store is moved', () => {
  it('goes on in Redis and back in LMDB: tokens work, events are there, nothing is issued twice', async () => {
    const directory = await scratch();
    const first = `lmdb:${join(directory, 'first')}`;
    const last = `lmdb:${join(directory, 'last')}`;
    const file = join(directory, 'store.orch');

    const before = await withService(first, async (service, clients) => {
      const attached = [];
      for (const id of agentIds) attached.push(await attach(service, id));
      const once = await clients.agents.registerAgent({ agentId: 'b-1', requestId: 'once' });
      const running = await CliProcess.run(['store', 'backup', first, file]);
      expect(running).toMatchObject({ code: 0, stderr: '' });
      const copied = await CliProcess.run(['store', 'copy', first, inRedis]);
      expect(copied.code).toBe(1);
      expect(copied.stderr).toMatch(/^error: .*in use by process \d+/);
      return { attached, uid: once.agent?.uid, seen: await seen(clients) };
    });

    const copied = await CliProcess.run(['store', 'copy', first, inRedis]);
    expect(copied).toMatchObject({ code: 0, stderr: '' });
    expect(copied.stdout).toContain('read back and found the same');
    const again = await CliProcess.run(['store', 'copy', first, inRedis]);
    expect(again).toMatchObject({ code: 4, stdout: '' });
    const verified = await CliProcess.run(['store', 'verify', first, inRedis, '-o', 'json']);
    expect(JSON.parse(verified.stdout)).toMatchObject({ same: true, differences: [] });
    for (const { stdout, stderr } of [copied, again, verified]) {
      for (const secret of [password, encodeURIComponent(password)]) {
        expect(stdout + stderr).not.toContain(secret);
      }
    }

    const inBetween = await withService(inRedis, async (service, clients) => {
      const found = await seen(clients);
      // The left ones are changed by nothing but their own coming and going.
      expect(found.agents).toEqual(before.seen.agents);
      expect(found.events.slice(-before.seen.events.length)).toEqual(before.seen.events);
      const repeated = await clients.agents.registerAgent({ agentId: 'b-1', requestId: 'once' });
      expect(repeated.agent?.uid).toBe(before.uid);
      const registrations = await clients.monitoring.listEvents({ filter: { agentIds: ['b-1'] } });
      expect(registrations.events.map(({ type }) => type)).toEqual(['agent.registered']);
      const attached = [];
      for (const [at, id] of agentIds.entries()) {
        const { token, epoch } = before.attached[at] ?? { token: '', epoch: 0n };
        const now = await attach(service, id, token);
        expect(now.epoch).toBeGreaterThan(epoch);
        attached.push(now);
      }
      const wrong = clients.agents.registerAgent({ agentId: 'a-1' }, bearer('orch1.wrong'));
      expect((await failureOf(wrong)).code).not.toBe('OK');
      const used = await CliProcess.run(['store', 'restore', file, inRedis, '--force']);
      expect(used.code).toBe(1);
      expect(used.stderr).toMatch(/stop it first/);
      return { attached, seen: await seen(clients) };
    });

    const restored = await CliProcess.run(['store', 'copy', 'config', last], { ORCHESTRATOR_STORE: inRedis });
    expect(restored).toMatchObject({ code: 0, stderr: '' });
    await withService(last, async (service, clients) => {
      expect((await seen(clients)).agents).toEqual(inBetween.seen.agents);
      const now = await attach(service, 'a-1', before.attached[0]?.token);
      expect(now.epoch).toBeGreaterThan(inBetween.attached[0]?.epoch ?? 0n);
    });
  });

  it('is told at the start of a service that the store is not complete', async () => {
    const directory = await scratch();
    const store = `lmdb:${join(directory, 'store')}`;
    const file = join(directory, 'store.orch');
    await withService(store, (service) => attach(service, 'a-1'));
    expect((await CliProcess.run(['store', 'backup', store, file])).code).toBe(0);
    const sound = await readFile(file);
    await writeFile(file, sound.subarray(0, -5));
    const damaged = await CliProcess.run(['store', 'restore', file, inRedis]);
    expect(damaged).toMatchObject({ code: 1, stdout: '' });
    expect(damaged.stderr).toMatch(/^error: cannot read the backup .*: it is cut short at byte \d+\n$/);

    // Killed while it fills the target: the mark is there from the first write on.
    await writeFile(file, sound);
    const client = new Redis(inRedis);
    await client.hset('orchestrator:agents_db:{*}:store', { epoch: 1, run: '', importing: 'now' });
    client.disconnect();
    await expect(ServiceProcess.start({ store: inRedis, env: fastTimes })).rejects.toThrow(
      /a copy or restore into this store in Redis, begun now, was not completed/,
    );
    expect((await CliProcess.run(['store', 'restore', file, inRedis])).code).toBe(4);
    expect((await CliProcess.run(['store', 'restore', file, inRedis, '--force'])).code).toBe(0);
    await withService(inRedis, async (_, clients) => {
      expect((await seen(clients)).agents.map(({ id }) => id)).toEqual(['a-1']);
    });
  });
});

describe('mistakes', () => {
  it.each([
    [['copy', 'nowhere', 'lmdb:./x'], 2, /"nowhere" is not a store/],
    [['copy', 'redis:/x:secret@', 'lmdb:./x'], 2, /^error: the store is not a URL/],
    [['copy', 'redis://u:secret@h:1?x', 'lmdb:./x'], 2, /^error: the store /],
    [['copy', 'mongo://u:secret@h', 'lmdb:./x'], 2, /^error: a store is lmdb:/],
    [['backup', 'lmdb:./x', 'redis://h'], 2, /the second argument is a file/],
    [['restore', 'lmdb:./x', 'lmdb:./y'], 2, /the first argument is a file/],
    [
      ['copy', 'redis://u:secret@127.0.0.1:1', 'lmdb:./x'],
      1,
      /cannot use Redis at 127.0.0.1:1: connect ECONN/,
    ],
    [['verify', 'lmdb:./none', './none.orch'], 1, /there is no store in lmdb:.\/none/],
    [['copy', 'lmdb:./x', 'lmdb:./y', '--min-epoch', 'x'], 2, /write a whole number/],
  ])('are told in one line: store %j', async (args, code, message) => {
    const run = await CliProcess.run(['store', ...args]);
    expect(run).toMatchObject({ code, stdout: '' });
    expect(run.stderr).toMatch(message);
    expect(run.stderr).not.toContain('secret');
    if (!args.includes('--min-epoch')) expect(run.stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  it('in the configuration are told as serve tells them', async () => {
    const run = await CliProcess.run(['store', 'verify', 'config', 'config'], { ORCHESTRATOR_STORE: 'x' });
    expect(run.code).toBe(2);
    expect(run.stderr).toContain('ORCHESTRATOR_STORE: store: must be lmdb:<directory>');
  });
});
