import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { connectAgent } from '../../src/client/index.ts';
import { type Clients, connectClients } from '../support/clients.ts';
import { ServiceProcess } from '../support/service.ts';
import { until } from '../support/until.ts';
import { AgentProcess } from './agent-process.ts';
import { FleetWatch } from './fleet-watch.ts';
import { suiteWith, type Tool } from './tools.ts';

/** Short, so that a loss takes seconds. */
const env = {
  ORCHESTRATOR_SESSION_PING_INTERVAL: '300ms',
  ORCHESTRATOR_SESSION_LEASE: '4s',
  ORCHESTRATOR_SESSION_FLUSH_INTERVAL: '500ms',
  ORCHESTRATOR_SESSION_RECONNECT_GRACE: '3s',
  ORCHESTRATOR_SESSION_RECOVERY_GRACE: '6s',
};

function lifeOfAn(language: string, tool: Tool): void {
  let service: ServiceProcess;
  let clients: Clients;
  let watch: FleetWatch;
  const processes: AgentProcess[] = [];
  let id = '';
  let made = 0;

  beforeAll(async () => {
    service = await ServiceProcess.start({ env });
    clients = connectClients(service.grpc);
  });
  afterAll(async () => {
    clients?.close();
    await service?.stop();
  });
  beforeEach(() => {
    id = `${language}-${++made}`;
    watch = new FleetWatch(clients);
  });
  afterEach(async () => {
    await watch.close();
    await Promise.all(processes.splice(0).map((one) => one.end()));
  });

  function start(): AgentProcess {
    const started = new AgentProcess(tool, [service.grpc, id]);
    processes.push(started);
    return started;
  }
  const get = async () => (await clients.agents.getAgent({ agentId: id })).agent;
  const roundTrips = (count: number) =>
    until(get, (one) => (one?.observation?.roundTrip?.samples ?? 0) >= count, {
      what: `${count} round trips`,
    });

  test('is seen by WatchAgents within a second, and becomes healthy with report, RTT and clock', async () => {
    const agent = start();
    const { at } = await agent.line(/^connected/);
    const sighting = await watch.seen(id, 'CONNECTED');
    expect(sighting.at - at).toBeLessThan(1_000);
    const seen = await roundTrips(3);
    expect(seen?.spec?.kind).toBe('summarizer');
    expect(seen?.observation?.health?.score).toBe(1);
    expect(seen?.observation?.report).toMatchObject({ activity: 'summarizing', load: 0.3 });
    expect(seen?.observation?.report?.progress[0]?.done).toBeGreaterThan(0n);
    expect(Number(seen?.observation?.roundTrip?.smoothed?.seconds)).toBe(0);
    expect(Math.abs(seen?.observation?.clockOffset?.nanos ?? Number.NaN)).toBeLessThan(50e6);
  });

  test('is superseded by a process that takes it over: told so, and does not come back', async () => {
    const agent = start();
    const epoch = await agent.epoch();
    const other = await connectAgent({ server: service.grpc, id, takeover: true, spec: { kind: 'usurper' } });
    try {
      await agent.line(/^go_away.*SUPERSEDED/);
      expect(await agent.exited).toBe(0);
      expect(other.epoch).toBeGreaterThan(epoch);
      expect((await get())?.observation?.instanceId).toBe(other.instanceId);
    } finally {
      await other.leave();
    }
  });

  test('a second process without token or takeover is refused and ends', async () => {
    await start().line(/^connected/);
    const second = start();
    await second.line(/ALREADY_EXISTS|AlreadyExists/);
    await second.exited;
    expect((await get())?.observation?.heartbeats).toBeGreaterThan(0n);
  });

  test('stopped, it is suspected and lost and stops its work; continued, it comes back with a higher epoch', async () => {
    const agent = start();
    const epoch = await agent.epoch();
    await roundTrips(5); // suspicion rests on how the agent answered before
    agent.signal('SIGSTOP');
    const lost = await watch.seen(id, 'LOST');
    expect(watch.path(id)).toContain('SUSPECT');
    agent.signal('SIGCONT');
    await agent.line(/lease expired: work stopped/);
    expect(await agent.epoch(2)).toBeGreaterThan(epoch);
    await watch.seen(id, 'CONNECTED', lost.at);
  });

  test('killed, it is disconnected at once and lost after the grace; restarted, it is there again', async () => {
    const agent = start();
    const epoch = await agent.epoch();
    await watch.seen(id, 'CONNECTED');
    const killedAt = performance.now();
    agent.signal('SIGKILL');
    const disconnected = await watch.seen(id, 'DISCONNECTED');
    expect(disconnected.at - killedAt).toBeLessThan(1_000);
    const lost = await watch.seen(id, 'LOST');
    expect(lost.at - disconnected.at).toBeGreaterThan(2_000);
    expect(await start().epoch()).toBeGreaterThan(epoch);
    await watch.seen(id, 'CONNECTED', lost.at);
  });

  test('told to end, it says goodbye', async () => {
    const agent = start();
    await watch.seen(id, 'CONNECTED');
    agent.signal('SIGTERM');
    expect(await agent.exited).toBe(0);
    await watch.seen(id, 'LEFT');
    expect(watch.path(id)).not.toContain('DISCONNECTED');
  });

  test('outlives the service: killed and started again, it finds the agent back by its kept token', async () => {
    const agent = start();
    const epoch = await agent.epoch();
    const { uid } = (await get()) ?? {};
    await watch.close();
    await service.restart();
    expect(await agent.epoch(2)).toBeGreaterThan(epoch);
    clients.close();
    clients = connectClients(service.grpc);
    expect((await get())?.uid).toBe(uid);
  });
}

suiteWith('python-agent', 'a Python agent (grpcio)', (tool) => lifeOfAn('python', tool));
suiteWith('go-agent', 'a Go agent (grpc-go)', (tool) => lifeOfAn('go', tool));
