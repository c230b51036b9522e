import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Alert, Alert_State } from '../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { type Clients, connectClients } from '../support/clients.ts';
import { HttpSinkServer } from '../support/http-sink-server.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { ServiceProcess } from '../support/service.ts';
import { SimAgent } from '../support/sim-agent.ts';
import { fastTimes } from '../support/stack.ts';
import { until } from '../support/until.ts';

/**
 * By default the sender comes back after each death. With ALERTS_TAKEOVER=1 it stays dead, and the other one has to see that:
 * ALERTS_TAKEOVER=1 npx vitest run --project servers test/e2e/alert-thresholds.test.ts
 */
const TAKEOVER = process.env.ALERTS_TAKEOVER === '1';
const DEATH_MS = TAKEOVER ? 40_000 : 20_000;

const RULES = ['agent_health', 'communication_latency', 'resource_usage', 'system_load'];
const env = (sinks: object[]): Record<string, string> => ({
  ...fastTimes,
  ORCHESTRATOR_SESSION_RECONNECT_GRACE: '60s',
  ORCHESTRATOR_ALERT_THRESHOLDS_COMMUNICATION_LATENCY: '150',
  ORCHESTRATOR_ALERTS_RULES: JSON.stringify(
    RULES.map((name) => ({ name, for: name === 'communication_latency' ? '1s' : '3s', clear_for: '1s' })),
  ),
  ORCHESTRATOR_ALERTS_SINKS: JSON.stringify(sinks),
  ORCHESTRATOR_ALERTS_RESEND: '1s',
});

describe('the four thresholds, crossed and cleared by agents, while the replica that judges and sends is killed at each step', () => {
  let redis: RedisServer;
  let hook: HttpSinkServer;
  let manager: HttpSinkServer;
  /** The first takes the lease; the agents are attached to the second. */
  let sender: ServiceProcess;
  let other: ServiceProcess;
  let clients: Clients;
  let agents: SimAgent[] = [];

  const start = (id: string): Promise<ServiceProcess> =>
    ServiceProcess.start({
      store: redis.url,
      env: {
        ...env([
          { name: 'hook', kind: 'webhook', url: `http://127.0.0.1:${hook.port}/` },
          { name: 'am', kind: 'alertmanager', url: `http://127.0.0.1:${manager.port}` },
        ]),
        ORCHESTRATOR_ID: id,
      },
    });

  beforeAll(async () => {
    redis = await startRedis();
    hook = await HttpSinkServer.start();
    manager = await HttpSinkServer.start();
    sender = await start('replica-1');
    const first = new SimAgent({ via: sender.grpc, id: 'a0' });
    await first.register();
    first.close();
    const judges = ({ msg, namespace }: Record<string, unknown>): boolean =>
      msg === 'this replica judges the alerts of a namespace now' && namespace === 'default';
    const taken = until(
      () => sender.logs.some(judges),
      (found) => found,
      { what: 'the lease of alerts', timeoutMs: 20_000 },
    );
    [other] = await Promise.all([start('replica-2'), taken]);
    clients = connectClients(other.grpc);
    agents = ['a1', 'a2'].map((id) => new SimAgent({ via: other.grpc, id }));
  }, 60_000);
  afterAll(async () => {
    for (const agent of agents) agent.close();
    clients?.close();
    await Promise.all([sender?.stop(), other?.stop()]);
    await redis?.stop();
    await hook?.close();
    await manager?.close();
  });

  /** Alerts of the four rules, by rule. */
  const alerts = async (states: Alert_State[]): Promise<Alert[]> => {
    const { alerts: found } = await clients.alerts.listAlerts({ rules: RULES, states, withGrouped: true });
    return found.sort((a, b) => (a.rule < b.rule ? -1 : 1));
  };
  const untilAll = (state: Alert_State): Promise<Alert[]> =>
    until(
      () => alerts([state]),
      (found) => found.length === RULES.length,
      { what: `four alerts in state ${state}`, timeoutMs: DEATH_MS, everyMs: 50 },
    );
  const atHook = (what: string): Map<string, string> =>
    new Map(
      hook.received
        .map(({ body }) => JSON.parse(body) as { type: string; subject: string; data: { id: string } })
        .filter(({ type }) => type === `mycosoft.orchestrator.alert.${what}`)
        .map(({ subject, data }) => [subject, data.id]),
    );
  const atManager = (isOver: boolean): string[] => [
    ...new Set(
      manager.received
        .flatMap(({ body }) => JSON.parse(body) as { labels: Record<string, string>; endsAt: string }[])
        .filter(({ endsAt }) => Date.parse(endsAt) <= Date.now() === isOver)
        .map(({ labels }) => labels.alertname ?? ''),
    ),
  ];
  const untilTold = (what: 'firing' | 'resolved'): Promise<unknown> =>
    until(
      () => RULES.filter((rule) => !atHook(what).has(rule) || !atManager(what === 'resolved').includes(rule)),
      (missing) => missing.length === 0,
      { what: `both sinks to hear that all four are ${what}`, timeoutMs: DEATH_MS, everyMs: 50 },
    );
  const die = async (): Promise<void> => {
    if (!TAKEOVER) await sender.restart();
    else if (sender !== other) {
      await sender.kill('SIGKILL');
      sender = other;
    }
  };

  it('are pending, fire, reach both sinks and are resolved, each as one alert from beginning to end', async () => {
    const [busy, gone] = agents as [SimAgent, SimAgent];
    await clients.agents.deregisterAgent({ agentId: 'a0' });
    await busy.register({ spec: { kind: 'worker', capacity: { gpu: 10n } } });
    await busy.attach().welcome;
    await gone.join();
    const manner = busy.session?.manner;
    if (manner === undefined) throw new Error('no session');
    Object.assign(manner, { answerDelayMs: 400, tellsHeld: false });
    busy.session?.send({
      frame: { case: 'heartbeat', value: { report: { load: 0.95, usage: { gpu: 9n } } } },
    });
    gone.session?.break();

    // Round trips are seen last.
    const pending = await until(
      () => alerts([Alert_State.PENDING, Alert_State.FIRING]),
      (found) => found.length === RULES.length,
      { what: 'four alerts', timeoutMs: 20_000, everyMs: 50 },
    );
    await die();
    const firing = await untilAll(Alert_State.FIRING);
    expect(firing.map(({ id, rule }) => [rule, id])).toEqual(pending.map(({ id, rule }) => [rule, id]));
    await untilTold('firing');
    await die();

    // A new session has round trips of its own.
    busy.session?.break();
    await busy.attach().welcome;
    busy.session?.send({
      frame: { case: 'heartbeat', value: { report: { load: 0.1, usage: { gpu: 1n } } } },
    });
    await gone.attach().welcome;
    await until(
      async () => (await clients.agents.getAgent({ agentId: 'a1' })).agent?.observation?.report?.load,
      (load) => load === 0.1,
      { what: 'the load to fall', timeoutMs: 10_000, everyMs: 50 },
    );
    await die();
    const resolved = await untilAll(Alert_State.RESOLVED);
    await untilTold('resolved');

    const ids = firing.map(({ id, rule }): [string, string] => [rule, id]);
    expect(resolved.map(({ id, rule, resolveReason }) => [rule, id, resolveReason])).toEqual(
      ids.map((pair) => [...pair, 'cleared']),
    );
    for (const what of ['firing', 'resolved']) expect([...atHook(what)].sort()).toEqual(ids);
    const { events } = await clients.monitoring.listEvents({
      filter: { types: ['alert.fired', 'alert.resolved'] },
    });
    const counted = events.filter(({ attributes }) => RULES.includes(attributes.rule ?? ''));
    expect(counted.map(({ type, attributes }) => `${attributes.rule} ${type}`).sort()).toEqual(
      RULES.flatMap((rule) => [`${rule} alert.fired`, `${rule} alert.resolved`]),
    );
  }, 120_000);
});
