import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { create, toBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  GoAway_Reason,
  OpenSessionRequestSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { AgentWatch } from '../support/agent-watch.ts';
import { grpcHeaders, H2Client } from '../support/h2-client.ts';
import { Stack } from '../support/stack.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { pause, until, within } from '../support/until.ts';

const sessionPath = '/mycosoft.orchestrator.agent.v1.SessionService/OpenSession';
const megabyte = 1024 * 1024;

const rssOf = (pid: number) =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;

function socketsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
}

async function metric(stack: Stack, name: RegExp): Promise<number> {
  const text = await (await fetch(`http://${stack.service.http}/metrics`)).text();
  const lines = text.split('\n').filter((line) => !line.startsWith('#') && name.test(line));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

describe('clients that do not play along', () => {
  let stack: Stack;
  beforeEach(async () => {
    stack = await Stack.start('lmdb');
  });
  afterEach(async () => {
    await stack?.dispose();
  });

  const sessions = async () => (await stack.clients.monitoring.getSystemStatus({})).status?.replica?.sessions;

  it('are cut off within the drain time-out when they read nothing at all', async () => {
    const agent = stack.agent({ id: 'deaf' });
    await agent.register();
    const watch = await AgentWatch.open(stack.clients);
    const [host = '', port] = stack.service.grpc.split(':');
    const client = new H2Client({ host, port: Number(port), initialWindow: 0 });
    const hello = create(OpenSessionRequestSchema, { frame: { case: 'hello', value: {} } });
    const headers = grpcHeaders(sessionPath, stack.service.grpc, { authorization: `Bearer ${agent.token}` });
    const ended = new Promise((resolve) => {
      client.open(headers, { data: () => {}, end: resolve }, toBinary(OpenSessionRequestSchema, hello));
    });
    await watch.untilLiveness('deaf', Agent_Liveness.CONNECTED);
    const startMs = performance.now();
    await within(ended, 4000, 'the end of the session');
    expect(performance.now() - startMs).toBeLessThan(2500); // drain time-out 1 s, and a ping to notice
    await watch.untilLiveness('deaf', Agent_Liveness.DISCONNECTED);
    expect(await metric(stack, /cut_off.*slow/)).toBe(1);
    await watch.close();
    client.close();
  });

  it('do not grow the memory by asking for results that they never read', async () => {
    const agents = Array.from({ length: 20 }, (_, i) => stack.agent({ id: `flood-${i}` }));
    const open = await Promise.all(agents.map((agent) => agent.join()));
    const before = rssOf(stack.service.pid);
    let peak = before;
    const frame = Buffer.from(
      toBinary(
        OpenSessionRequestSchema,
        create(OpenSessionRequestSchema, {
          frameId: 'f'.repeat(128),
          frame: { case: 'heartbeat', value: {} },
        }),
      ),
    );
    let ended = 0;
    for (const session of open) {
      session.stopReading();
      void session.ended.then(() => ended++);
    }
    // A client whose stream is paused hears of its end late, so the server's count tells.
    for (let burst = 0; burst < 400; burst++) {
      for (const session of open) for (let i = 0; i < 10; i++) session.sendRaw(frame);
      await pause(10);
      peak = Math.max(peak, rssOf(stack.service.pid));
      if (burst % 20 === 0 && (await sessions()) === 0) break;
    }
    await until(sessions, (count) => count === 0, { what: 'all of them to be cut off', timeoutMs: 15_000 });
    expect(peak - before).toBeLessThan(100 * megabyte);
  }, 60_000);

  it('are judged LOST and their sockets released when they vanish without a word (half-open)', async () => {
    const proxy = await TcpProxy.start({ target: stack.service.grpc });
    const watch = await AgentWatch.open(stack.clients);
    const idleSockets = socketsOf(stack.service.pid);
    try {
      const agents = Array.from({ length: 20 }, (_, i) =>
        stack.agent({ id: `half-${i}`, via: proxy.address }),
      );
      const open = await Promise.all(agents.map((agent) => agent.join()));
      await until(() => open.every(({ pings }) => pings.length >= 5), Boolean, { what: 'a few round trips' });
      for (const connection of proxy.connections) connection.sever();
      for (const { id } of agents) {
        await watch.untilLiveness(id, Agent_Liveness.LOST);
        expect(watch.livenessOf(id)).toEqual(['NEVER_SEEN', 'CONNECTED', 'SUSPECT', 'LOST']);
      }
      expect(await sessions()).toBe(0);
      const limitMs = 20_000;
      await until(
        () => socketsOf(stack.service.pid),
        (count) => count <= idleSockets + 1,
        {
          what: 'the half-open sockets to be closed',
          timeoutMs: limitMs,
        },
      );
    } finally {
      await watch.close();
      await proxy.close();
    }
  }, 60_000);

  it('come back over a link that was a black hole for a while, in the same session', async () => {
    const proxy = await TcpProxy.start({ target: stack.service.grpc });
    const watch = await AgentWatch.open(stack.clients);
    try {
      const agent = stack.agent({ id: 'tunnel', via: proxy.address });
      const session = await agent.join();
      const { epoch } = await session.welcome;
      await until(
        () => session.pings.length,
        (count) => count >= 5,
        { what: 'a few round trips' },
      );
      proxy.stall(true);
      await watch.untilLiveness('tunnel', Agent_Liveness.SUSPECT);
      proxy.stall(false);
      await watch.untilLiveness('tunnel', Agent_Liveness.CONNECTED);
      expect(watch.latest('tunnel')?.verdict).toMatchObject({ rule: 'answered', epoch });
      proxy.cut();
      await watch.untilLiveness('tunnel', Agent_Liveness.DISCONNECTED, 2000);
    } finally {
      await watch.close();
      await proxy.close();
    }
  });

  it.each([
    ['gRPC', 2000],
    ['HTTP', 500],
  ] as const)(
    'are cut off and counted when they say nothing on the %s port, while others are served',
    async (port, count) => {
      const address = port === 'gRPC' ? stack.service.grpc : stack.service.http;
      const [host, number] = address.split(':');
      const idleSockets = socketsOf(stack.service.pid);
      const witness = await stack.agent({ id: 'witness' }).join();
      let open = 0;
      const silent: Socket[] = [];
      for (let i = 0; i < count; i++) {
        const socket = connect({ host, port: Number(number) });
        socket.on('connect', () => open++);
        socket.on('error', () => {});
        socket.on('close', () => open--);
        socket.resume();
        silent.push(socket);
      }
      await until(
        () => socketsOf(stack.service.pid),
        (sockets) => sockets > idleSockets + count / 2,
        {
          what: 'the silent connections',
        },
      );
      let slowest = 0;
      const pings = witness.pings.length;
      await until(
        async () => {
          const startMs = performance.now();
          await stack.clients.agents.getAgent({ agentId: 'witness' });
          slowest = Math.max(slowest, performance.now() - startMs);
          return open;
        },
        (left) => left === 0,
        { what: 'all silent connections to be cut off', timeoutMs: 15_000 },
      );
      expect(slowest).toBeLessThan(1000);
      expect(witness.pings.length).toBeGreaterThan(pings);
      expect(witness.goAway).toBeUndefined();
      expect(await metric(stack, /hello_timeout/)).toBeGreaterThanOrEqual(count);
      for (const socket of silent) socket.destroy();
    },
    60_000,
  );

  it('are cut off when they open session streams and never say hello', async () => {
    const agent = stack.agent({ id: 'shy' });
    await agent.register();
    const streams = Array.from({ length: 50 }, () => agent.openSilently());
    const ends = await within(Promise.all(streams.map(({ ended }) => ended)), 5000, 'the end of the streams');
    for (const { code } of ends) expect(code).not.toBe(0);
    expect(await sessions()).toBe(0);
  });

  it('are told to stay away with RESOURCE_EXHAUSTED past the limits of sessions and connections', async () => {
    await stack.restart({ ORCHESTRATOR_LIMITS_MAX_SESSIONS: '3', ORCHESTRATOR_GRPC_MAX_CONNECTIONS: '50' });
    const agents = Array.from({ length: 5 }, (_, i) => stack.agent({ id: `many-${i}` }));
    const outcomes = await Promise.allSettled(agents.map((agent) => agent.join()));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    const refused = agents.filter((_, i) => outcomes[i]?.status === 'rejected');
    for (const agent of refused) {
      const end = await agent.session?.ended;
      expect(end?.code).toBe(8);
      expect(end?.metadata.get('error-reason')).toEqual(['LIMIT_REACHED']);
      expect(Number(end?.metadata.get('retry-after-ms')[0])).toBeGreaterThan(0);
    }
    const kept = agents.find((_, i) => outcomes[i]?.status === 'fulfilled');
    expect(kept?.session?.goAway?.reason).not.toBe(GoAway_Reason.SLOW);
  });
});
