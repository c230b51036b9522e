import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { Agent_Liveness } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { AlertSeverity } from '../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  ServiceStatus_State,
  type SystemStatus,
  SystemStatus_State,
  SystemStatusSchema,
} from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { validateRequest } from '../../src/domain/validation/requests.ts';
import { statusBadge } from '../../src/http/status-badge.ts';
import { durationFromMs, timestampFromMs } from '../../src/lib/proto-time.ts';
import { startHttp } from './http-support.ts';

const status = (more: Omit<MessageInitShape<typeof SystemStatusSchema>, '$typeName'> = {}): SystemStatus =>
  create(SystemStatusSchema, {
    time: timestampFromMs(Date.UTC(2026, 0, 15)),
    state: SystemStatus_State.DEGRADED,
    reasons: ['service db is down: it refuses connections'],
    orchestratorId: 'o-1',
    orchestratorName: 'Fleet of tests',
    fleet: { agents: 3, byLiveness: [{ liveness: Agent_Liveness.CONNECTED, count: 3 }], byPhase: [] },
    readings: [
      { metric: 'system_load', value: 0.25, age: durationFromMs(1500), samples: 3 },
      { metric: 'x' },
    ],
    services: [
      { name: 'db', state: ServiceStatus_State.DOWN, detail: 'refuses connections', availability: 0.5 },
    ],
    alerts: [{ severity: AlertSeverity.CRITICAL, firing: 2, acknowledged: 1 }],
    store: { kind: 'lmdb', available: true, durability: 'disk' },
    ...more,
  });

async function serve(read: (namespace: string) => SystemStatus = () => status()) {
  const server = await startHttp([], {
    pages: {
      ...{ name: 'Test', version: '1', readiness: () => ({ ready: true, parts: {} }) },
      metrics: async () => ({ contentType: 'text/plain', body: '' }),
      status: { validate: validateRequest, read },
    },
  });
  return { url: server.url, close: () => server.listener.close({ graceMs: 100 }) };
}

test('GET /status is the status in plain names, of all or of a namespace', async () => {
  const asked: string[] = [];
  const server = await serve((namespace) => {
    asked.push(namespace);
    return status();
  });
  const response = await fetch(`${server.url}/status`);
  expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
  expect(response.headers.get('cache-control')).toBe('no-store');
  expect(await response.json()).toMatchObject({
    state: 'degraded',
    reasons: ['service db is down: it refuses connections'],
    time: '2026-01-15T00:00:00.000Z',
    orchestrator: { id: 'o-1', name: 'Fleet of tests' },
    agents: { total: 3, by_liveness: { connected: 3 } },
    figures: [
      { metric: 'system_load', value: 0.25, age_ms: 1500, samples: 3 },
      { metric: 'x', value: null },
    ],
    alerts: { critical: { firing: 2, acknowledged: 1 } },
    services: [{ name: 'db', state: 'down', latency_ms: null, availability: 0.5 }],
    replicas: [],
    store: { kind: 'lmdb', available: true, durability: 'disk' },
  });
  expect(await (await fetch(`${server.url}/status?namespace=red`)).json()).toMatchObject({
    namespace: 'red',
  });
  expect(asked).toEqual(['', 'red']);
  await server.close();
});

test('a namespace that is none is refused on both pages, and nothing is changed by other methods', async () => {
  const server = await serve();
  for (const page of ['/status', '/status.svg']) {
    for (const query of [
      '?namespace=%3Cscript%3E',
      '?namespace=a&namespace=b',
      `?namespace=${'a'.repeat(300)}`,
    ]) {
      const response = await fetch(server.url + page + query);
      expect(response.status).toBe(400);
      expect(response.headers.get('content-type')).toBe('application/json');
      expect(await response.json()).toMatchObject({ code: 'invalid_argument' });
    }
    expect((await fetch(server.url + page, { method: 'POST' })).status).toBe(405);
    expect(await (await fetch(server.url + page, { method: 'HEAD' })).text()).toBe('');
  }
  await server.close();
});

test('GET /status.svg is a picture that may be shown for ten seconds and can do nothing', async () => {
  const server = await serve();
  const response = await fetch(`${server.url}/status.svg`);
  expect(response.headers.get('content-type')).toBe('image/svg+xml; charset=utf-8');
  expect(response.headers.get('cache-control')).toBe('public, max-age=10');
  expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
  expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  const body = await response.text();
  expect(body).toContain('<title>Fleet of tests: degraded · 2 alerts</title>');
  await server.close();
});

test.each([
  [SystemStatus_State.OK, 'ok'],
  [SystemStatus_State.DEGRADED, 'degraded'],
  [SystemStatus_State.CRITICAL, 'critical'],
  [SystemStatus_State.UNSPECIFIED, 'unknown'],
])('the badge of state %d says %s', (state, expected) => {
  expect(statusBadge(status({ state, alerts: [] }), '')).toContain(
    `<title>Fleet of tests: ${expected}</title>`,
  );
});

test('the badge escapes names, and is well-formed and bounded whatever they hold', () => {
  const orchestratorName = `</title><script>alert("1")</script>&\u0000\u001b[31m\u202e\ud800'`;
  const badge = statusBadge(status({ orchestratorName }), 'a');
  expect(badge).not.toContain('<script');
  expect(badge).toContain('&lt;/title&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;');
  expect(badge.replace(/\n/g, '')).not.toMatch(/[\p{Cc}\u202e]/u);
  expect(badge.isWellFormed()).toBe(true);
  // Each tag is one of the badge's own.
  const tags = [...badge.matchAll(/<\/?([a-z]+)/g)].map(([, tag]) => tag);
  expect(new Set(tags)).toEqual(new Set(['svg', 'title', 'rect', 'g', 'text']));
  const long = statusBadge(status({ orchestratorName: '😀'.repeat(10_000) }), '');
  expect(long.length).toBeLessThan(2_000);
  expect(Number(/width="(\d+)"/.exec(long)?.[1])).toBeLessThan(600);
});
