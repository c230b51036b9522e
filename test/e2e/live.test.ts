import { createClient, type Transport } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  MonitoringService,
  WatchLiveRequest_Part,
  type WatchLiveResponse,
} from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { Stack } from '../support/stack.ts';

const { STATUS, AGENTS, ALERTS, EVENTS, OPERATIONS, TASKS, USAGE, TRAFFIC } = WatchLiveRequest_Part;
const PARTS = [STATUS, AGENTS, ALERTS, EVENTS, OPERATIONS, TASKS, USAGE, TRAFFIC];
let stack: Stack;
beforeAll(async () => {
  stack = await Stack.start('lmdb');
  const agent = stack.agent({ id: 'one' });
  await agent.register({ spec: { kind: 'demo', displayName: '<b>one</b>' } });
  await agent.attach().welcome;
  await stack.clients.tasks.submitTask({ taskId: 'waits', spec: { capability: 'nobody' } });
});
afterAll(() => stack.dispose());

const http = () => `http://${stack.service.http}`;

it.each<[string, () => Transport]>([
  ['Connect in binary', () => createConnectTransport({ baseUrl: http(), httpVersion: '1.1' })],
  [
    'Connect in JSON',
    () => createConnectTransport({ baseUrl: http(), httpVersion: '1.1', useBinaryFormat: false }),
  ],
  ['gRPC-Web', () => createGrpcWebTransport({ baseUrl: http(), httpVersion: '1.1' })],
  ['gRPC', () => createGrpcTransport({ baseUrl: `http://${stack.service.grpc}` })],
])('%s: all parts come in one stream, each with what is there', async (_, transport) => {
  const end = new AbortController();
  const client = createClient(MonitoringService, transport());
  const request = {
    parts: PARTS,
    minInterval: { nanos: 250_000_000 },
    recentEvents: 10,
  };
  const seen: WatchLiveResponse[] = [];
  const has = (test: (told: WatchLiveResponse['part']) => boolean): boolean =>
    seen.some(({ part }) => test(part));
  const complete = (): boolean =>
    has((part) => part.case === 'status' && part.value.fleet?.agents === 1) &&
    has((part) => part.case === 'agents' && part.value.synced) &&
    has((part) => part.case === 'agents' && part.value.samples.some(({ agentId }) => agentId === 'one')) &&
    has((part) => part.case === 'events' && part.value.synced) &&
    has((part) => part.case === 'alerts' && part.value.synced) &&
    has((part) => part.case === 'operations') &&
    has((part) => part.case === 'tasks' && part.value.synced && part.value.changes.length > 0) &&
    has((part) => part.case === 'usage' && part.value.total.length > 0) &&
    has((part) => part.case === 'topology' && part.value.nodes.some(({ id }) => id === 'one'));
  for await (const told of client.watchLive(request, { signal: end.signal, timeoutMs: 10_000 })) {
    seen.push(told);
    if (complete()) break;
  }
  end.abort();
  const agents = seen.flatMap(({ part }) => (part.case === 'agents' ? part.value.changes : []));
  expect(agents[0]?.agent?.spec?.displayName).toBe('<b>one</b>');
  const events = seen.flatMap(({ part }) => (part.case === 'events' ? part.value.events : []));
  expect(events.map(({ type }) => type)).toEqual(expect.arrayContaining(['agent.registered']));
  expect(events.every(({ id, namespace }) => /^\d+-\d+$/.test(id) && namespace === 'default')).toBe(true);
  expect(seen.every(({ replicaId, time }) => replicaId !== '' && time !== undefined)).toBe(true);
});
