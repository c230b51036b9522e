import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type ServiceStatus,
  ServiceStatus_State as State,
} from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { createProbes } from '../../src/integrations/probes/probes.ts';
import { connectClients } from '../support/clients.ts';
import { startRedis } from '../support/redis-server.ts';
import { ServiceProcess } from '../support/service.ts';
import { Stack } from '../support/stack.ts';
import { until } from '../support/until.ts';

let stack: Stack;
let second: ServiceProcess | undefined;
let llm: Server;
let queue: Server;
let healthy = true;

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Two replicas on one Redis, and services: one that breaks, one that is well, one that is not there. */
beforeAll(async () => {
  llm = createHttpServer((_, response) => {
    response.statusCode = healthy ? 200 : 503;
    response.end('x');
  });
  queue = createServer((socket) => socket.destroy());
  const [llmPort, queuePort] = [await listen(llm), await listen(queue)];
  const often = { interval: '1s', timeout: '900ms' };
  const services = [
    {
      name: 'llm',
      probe: 'http',
      target: `http://me:hunter2@127.0.0.1:${llmPort}/health?key=hunter2`,
      ...often,
    },
    { name: 'queue', probe: 'tcp', target: `127.0.0.1:${queuePort}`, failures: 1, ...often },
    { name: 'nobody', probe: 'tcp', target: '127.0.0.1:1', failures: 1, ...often },
  ];
  const env = { ORCHESTRATOR_SERVICES: JSON.stringify(services) };
  stack = await Stack.start('redis', { env: { ...env, ORCHESTRATOR_ID: 'one' } });
  second = await ServiceProcess.start({
    store: stack.redis?.url ?? '',
    env: { ...env, ORCHESTRATOR_ID: 'two', ORCHESTRATOR_SHUTDOWN_SPREAD: '100ms' },
  });
});

afterAll(async () => {
  await stack?.dispose();
  await second?.stop();
  for (const server of [llm, queue]) server?.close();
});

/** Resolves once the expectations hold. */
const eventually = (check: () => Promise<void>) =>
  until(
    async () => {
      await check();
      return true;
    },
    Boolean,
    { everyMs: 100 },
  );

async function services(clients = stack.clients): Promise<Map<string, ServiceStatus>> {
  const { status } = await clients.monitoring.getSystemStatus({});
  return new Map(status?.services.map((service) => [service.name, service]));
}

test('a service that breaks is down on every replica, as an event, in the status page and in the report; another replica asks on', async () => {
  await eventually(async () => {
    const known = await services();
    expect(['llm', 'queue', 'nobody'].map((name) => known.get(name)?.state)).toEqual([
      ...[State.OK, State.OK, State.DOWN],
    ]);
  });
  healthy = false;
  const other = connectClients(second?.grpc ?? '');
  try {
    await eventually(async () => {
      for (const clients of [stack.clients, other]) {
        const down = (await services(clients)).get('llm');
        expect(down).toMatchObject({
          state: State.DOWN,
          detail: 'answered with status 503, not 200 to 399',
          replicaId: 'one',
        });
        expect(down?.target).not.toContain('hunter2');
      }
    });
    const page = await fetch(`http://${second?.http}/status`);
    const json = await page.text();
    expect(json).not.toContain('hunter2');
    expect(JSON.parse(json)).toMatchObject({
      state: 'degraded',
      services: [{ name: 'llm', state: 'down' }, {}, {}],
    });
    const badge = await (await fetch(`http://${second?.http}/status.svg`)).text();
    expect(badge).toContain('degraded');
    const filter = { types: ['service.*'] };
    const { events } = await stack.clients.monitoring.listEvents({ namespace: '_system', filter });
    expect(events.map(({ type, attributes }) => [type, attributes.service])).toEqual([
      ['service.down', 'llm'],
      ['service.down', 'nobody'],
    ]);
    const { report } = await other.monitoring.getReport({ window: { seconds: 3_600n, nanos: 0 } });
    expect(report?.text).toContain('# Report of namespace default');

    // Whoever takes over goes on: what was told is not told again, and what changes is.
    await stack.service.kill('SIGTERM');
    healthy = true;
    await eventually(async () => {
      expect((await services(other)).get('llm')).toMatchObject({ state: State.OK, replicaId: 'two' });
    });
    const after = await other.monitoring.listEvents({ namespace: '_system', filter });
    expect(after.events.map(({ type, attributes }) => [type, attributes.service])).toEqual([
      ['service.up', 'llm'],
      ['service.down', 'llm'],
      ['service.down', 'nobody'],
    ]);
    expect(after.events[0]?.causeId).toBe(after.events[1]?.id);
  } finally {
    other.close();
  }
});

test('a probe of Redis asks a real server with its password, and says which is wrong', async () => {
  const redis = await startRedis({ args: ['--requirepass', 'hunter2'] });
  const ask = (login: string) =>
    createProbes().redis(
      {
        ...{ name: 's', probe: 'redis', intervalMs: 1_000, timeoutMs: 1_000, slowMs: 500, failures: 2 },
        ...{ target: `redis://${login}127.0.0.1:${redis.port}`, expectStatus: [200, 399], description: '' },
      },
      AbortSignal.timeout(5_000),
    );
  try {
    const well = { ok: true, latencyMs: expect.any(Number) };
    expect(await ask(':hunter2@')).toEqual(well);
    expect(await ask('default:hunter2@')).toEqual(well);
    expect(await ask(':wrong@')).toEqual({ ok: false, detail: 'refuses the user or password' });
    expect(await ask('')).toEqual({ ok: false, detail: 'wants a password' });
  } finally {
    await redis.stop();
  }
});
