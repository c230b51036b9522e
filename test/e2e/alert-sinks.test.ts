import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HttpSinkServer, type Received } from '../support/http-sink-server.ts';
import { Stack } from '../support/stack.ts';
import { until } from '../support/until.ts';

const SECRET = 'sinks-signing-key-77';
const TOKEN = 'sinks-bearer-token-88';
interface Envelope {
  id: string;
  type: string;
  subject?: string;
  data: { id: string; time?: string; labels?: Record<string, string> };
}

const envelopeOf = ({ body }: Received): Envelope => JSON.parse(body) as Envelope;
/** Whether it tells of the loss of an agent. */
const isAlert = (what: string, agentId: string) => (received: Received) => {
  const { type, subject, data } = envelopeOf(received);
  const isOf = subject === 'agent_lost' && data.labels?.agent_id === agentId;
  return type === `mycosoft.orchestrator.alert.${what}` && isOf;
};

/** An answer of the API as JSON, over Connect. */
async function call(http: string, method: string, body: object = {}): Promise<Record<string, unknown>> {
  const response = await fetch(`http://${http}/mycosoft.orchestrator.monitoring.v1.${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return (await response.json()) as Record<string, unknown>;
}

const untilSome = (server: HttpSinkServer, accept: (received: Received) => boolean) =>
  until(
    () => server.received.find(accept),
    (found) => found !== undefined,
    { timeoutMs: 20_000, what: 'a request at the sink' },
  );

describe('sinks of a running service', () => {
  let hook: HttpSinkServer;
  let manager: HttpSinkServer;
  let hanging: HttpSinkServer;
  let stack: Stack;
  beforeAll(async () => {
    [hook, manager, hanging] = [
      await HttpSinkServer.start(),
      await HttpSinkServer.start(),
      await HttpSinkServer.start(),
    ];
    hanging.answer = () => {};
    const at = ({ port }: HttpSinkServer, user = '') => `http://${user}127.0.0.1:${port}`;
    const sinks = [
      { name: 'hang', kind: 'webhook', url: at(hanging), timeout: '1s' },
      {
        ...{
          name: 'hook',
          kind: 'webhook',
          url: `${at(hook, 'ops:sinks-password-99@')}/path-token-66-abcdef`,
        },
        ...{ secret: SECRET, headers: { 'x-token': TOKEN }, events: ['agent.*'] },
      },
      { name: 'am', kind: 'alertmanager', url: at(manager) },
    ];
    stack = await Stack.start('lmdb', {
      env: { ORCHESTRATOR_ALERTS_SINKS: JSON.stringify(sinks), ORCHESTRATOR_ALERTS_RESEND: '1s' },
    });
  });
  afterAll(async () => {
    await stack.dispose();
    for (const server of [hook, manager, hanging]) await server.close();
  });

  it('hear of a lost agent within a second, and that it is back, while another one hangs; secrets stay secret', async () => {
    const arrivals = new Map<string, number>();
    hook.answer = (received, response) => {
      const { id } = envelopeOf(received);
      if (!arrivals.has(id)) arrivals.set(id, Date.now());
      response.end();
    };
    const { service } = stack;
    const agent = stack.agent({ id: 'a1' });
    await agent.join();
    agent.session?.break();
    const firing = await untilSome(hook, isAlert('firing', 'a1'));
    // Signed as whoever receives it checks it.
    const [, t, v1] = /^t=(\d+),v1=(\w+)$/.exec(`${firing?.headers['x-orchestrator-signature']}`) ?? [];
    expect(v1).toBe(createHmac('sha256', SECRET).update(`${t}.${firing?.body}`).digest('hex'));
    const lost = await untilSome(hook, (received) => envelopeOf(received).type.endsWith('event.agent.lost'));
    const [alertId, eventAt] = [
      firing === undefined ? '' : envelopeOf(firing).id,
      lost === undefined ? '' : (envelopeOf(lost).data.time ?? ''),
    ];
    expect((arrivals.get(alertId) ?? 0) - Date.parse(eventAt)).toBeLessThan(1000);
    const posted = () => manager.received.flatMap(({ body }) => JSON.parse(body) as PostedAlert[]);
    const ofAgent = () => posted().filter(({ labels }) => labels.alertname === 'agent_lost');
    await until(ofAgent, (alerts) => alerts.length >= 2, { what: 'a resend' });

    agent.attach();
    const resolved = await untilSome(hook, isAlert('resolved', 'a1'));
    expect(resolved && envelopeOf(resolved).data.id).toBe(firing && envelopeOf(firing).data.id);
    await until(ofAgent, (alerts) => Date.parse(alerts.at(-1)?.endsAt ?? '') < Date.now(), {
      what: 'the end',
    });
    const alerts = ofAgent();
    expect(new Set(alerts.map(({ labels }) => JSON.stringify(labels))).size).toBe(1);
    expect(alerts[0]?.labels).toMatchObject({ agent_id: 'a1', namespace: 'default' });

    // What the feed told is what happened, in its order.
    const types = hook.received.map((received) => envelopeOf(received).type);
    const events = types
      .filter((type) => type.includes('.event.'))
      .map((type) => type.replace(/.*event\./, ''));
    expect(events.slice(0, 4)).toEqual([
      'agent.registered',
      'agent.connected',
      'agent.disconnected',
      'agent.lost',
    ]);

    const sinks = await until(
      () => call(service.http, 'AlertService/ListAlertSinks'),
      (answer) =>
        JSON.stringify(answer).includes('did not answer in time') ||
        JSON.stringify(answer).includes('no answer'),
    );
    expect(sinks.sinks).toMatchObject([
      { name: 'am', kind: 'alertmanager', healthy: true },
      { name: 'hang', failures: expect.any(Number) },
      { name: 'hook', target: `http://127.0.0.1:${hook.port}/…`, healthy: true },
    ]);
    const status = await call(service.http, 'MonitoringService/GetSystemStatus');
    const config = await call(service.http, 'MonitoringService/GetConfig');
    const shown =
      JSON.stringify([sinks, status, config]) + JSON.stringify(service.logs) + service.plain.join();
    for (const secret of [SECRET, TOKEN, 'sinks-password-99', 'path-token-66'])
      expect(shown).not.toContain(secret);
  });

  it('hear again, under the same id, of what was sent by a service that was killed before it could store that', async () => {
    const { service } = stack;
    const agent = stack.agent({ id: 'a2' });
    await agent.join();
    // It has the alert, and before it can say so its sender is dead.
    hook.answer = (received, response) => {
      if (isAlert('firing', 'a2')(received)) service.signal('SIGKILL');
      else response.end();
    };
    agent.session?.break();
    const first = await untilSome(hook, isAlert('firing', 'a2'));
    await service.exited;
    hook.answer = (_, response) => response.end();
    const before = hook.received.length;
    await service.restart();
    const again = await until(
      () => hook.received.slice(before).find(isAlert('firing', 'a2')),
      (found) => found !== undefined,
      { timeoutMs: 20_000 },
    );
    expect(again && envelopeOf(again).id).toBe(first && envelopeOf(first).id);
    await until(
      async () => JSON.stringify(await call(service.http, 'AlertService/ListAlerts', { agentId: 'a2' })),
      (answer) => answer.includes('"done":true'),
    );
    const sent = hook.received.slice(before).filter(isAlert('firing', 'a2')).length;
    expect(sent).toBe(1);
  });
});

interface PostedAlert {
  labels: Record<string, string>;
  startsAt: string;
  endsAt: string;
}
