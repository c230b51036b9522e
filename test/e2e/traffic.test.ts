import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { afterEach, describe, expect, test } from 'vitest';
import {
  MessageService,
  type MessageTrace,
  MessageTrace_Step,
} from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { type AgentHandle, connectAgent } from '../../src/client/index.ts';
import { failureOf } from '../support/clients.ts';
import { startRedis } from '../support/redis-server.ts';
import { ServiceProcess } from '../support/service.ts';
import { fastTimes } from '../support/stack.ts';
import { until } from '../support/until.ts';

const NAMES = Object.fromEntries(Object.entries(MessageTrace_Step).map(([name, step]) => [step, name]));
const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function replicas(count: number, store?: string): Promise<ServiceProcess[]> {
  const started = [];
  for (let index = 1; index <= count; index += 1) {
    const env = { ...fastTimes, ORCHESTRATOR_ID: `replica-${index}` };
    const replica = await ServiceProcess.start(store === undefined ? { env } : { env, store });
    cleanups.push(async () => void (await replica.stop()));
    started.push(replica);
  }
  return started;
}

function client(replica: ServiceProcess): Client<typeof MessageService> {
  const baseUrl = `http://${replica.grpc}`;
  const sessionManager = new Http2SessionManager(baseUrl);
  cleanups.push(() => sessionManager.abort());
  return createClient(MessageService, createGrpcTransport({ baseUrl, sessionManager }));
}

async function agent(replica: ServiceProcess, id: string, more: object = {}): Promise<AgentHandle> {
  const handle = await connectAgent({ server: replica.grpc, id, spec: { kind: 'test' }, ...more });
  cleanups.push(async () => void (await handle.close()));
  return handle;
}

/** Follows the traffic; `seen` waits until it told this. */
async function watch(messages: Client<typeof MessageService>, request: object = {}) {
  const stop = new AbortController();
  const traces: MessageTrace[] = [];
  const stream = messages.watchMessages(request, { signal: stop.signal })[Symbol.asyncIterator]();
  await stream.next();
  const ended = (async () => {
    for (let next = await stream.next(); next.done !== true; next = await stream.next())
      traces.push(...next.value.traces);
  })().catch(() => {});
  cleanups.push(async () => {
    stop.abort();
    await ended;
  });
  const words = () => traces.map(({ step, messageId, agentId }) => `${NAMES[step]} ${messageId} ${agentId}`);
  const seen = (word: string) =>
    until(words, (all) => all.includes(word), { what: `${word} among the traffic` });
  return { traces, words, seen };
}

const S = MessageTrace_Step;
const note = (id: string, agentId: string, source: string) => ({
  send: {
    message: { id, type: 'note', source, data: { data: { case: 'text' as const, value: `hello ${id}` } } },
    to: { case: 'agentId' as const, value: agentId },
  },
});

/** What happens at one replica, seen at another one (the same, with the embedded store). */
async function follow(at: ServiceProcess, elsewhere: ServiceProcess): Promise<void> {
  await agent(at, 'rx', {
    onMessage: { note: async () => {} },
    onCall: { ask: async () => 'fine' },
  });
  const tx = await agent(at, 'tx');
  const [here, there] = [client(at), client(elsewhere)];
  const told = await watch(there, { withData: true });
  const onlyDeclined = await watch(there, { steps: [S.DECLINED] });

  // A message between two agents of one replica, step by step.
  await here.sendMessage(note('m-1', 'rx', 'tx'));
  await told.seen('DONE m-1 rx');
  expect(told.words().filter((word) => word.includes('m-1'))).toEqual(
    expect.arrayContaining(['STORED m-1 rx', 'HANDED_OUT m-1 rx', 'DONE m-1 rx']),
  );
  const [stored] = told.traces.filter(({ messageId }) => messageId === 'm-1');
  expect(stored).toMatchObject({ step: S.STORED, source: 'tx', type: 'note', target: 'agent:rx' });
  expect(stored?.data?.data.value).toBe('hello m-1');

  // A call, in a session.
  expect(tx.state).toBe('connected');
  const answer = await here.callAgent({
    send: { message: { id: 'c-1', type: 'ask', source: 'tx' }, to: { case: 'agentId', value: 'rx' } },
  });
  expect(answer.output?.data.value).toBe('fine');
  await told.seen('DONE c-1 rx');
  expect(told.traces.find(({ messageId }) => messageId === 'c-1')).toMatchObject({ call: true });

  // Policies that are set at one replica hold at the other.
  await there.setLinkPolicy({
    policy: { id: 'quiet', from: 'agent:tx', to: 'agent:rx', action: { case: 'mute', value: {} } },
  });
  await until(
    async () =>
      failureOf(here.sendMessage(note(`q-${Math.random()}`, 'rx', 'tx')).then(() => {})).catch(
        () => undefined,
      ),
    (failure) => failure?.reason === 'LINK_MUTED',
    { what: 'the muted link' },
  );
  await until(
    () => told.traces,
    (traces) => traces.some(({ step, policyId }) => step === S.MUTED && policyId === 'quiet'),
    {
      what: 'the muted message among the traffic',
    },
  );
  await there.setLinkPolicy({
    policy: {
      id: 'quiet',
      from: 'agent:tx',
      to: 'agent:rx',
      action: { case: 'reroute', value: { agentId: 'tx' } },
    },
  });
  await until(
    () => here.listLinkPolicies({}),
    ({ policies }) => policies[0]?.action.case === 'reroute',
    { what: 'the new policy at the other replica' },
  );
  await here.sendMessage(note('r-1', 'rx', 'tx'));
  await told.seen('REROUTED r-1 tx');

  // Events over HTTP: for nobody, and for all.
  const response = await fetch(`http://${at.http}/events?to=agent:nobody-yet`, {
    method: 'POST',
    headers: { 'ce-specversion': '1.0', 'ce-id': 'e-1', 'ce-source': 'sensor', 'ce-type': 'hot' },
  });
  expect(response.status).toBe(404);
  const expiry = new Date(Date.now() + 60_000).toISOString();
  const event = await fetch(`http://${at.http}/events?to=selector:!none`, {
    method: 'POST',
    headers: { 'content-type': 'application/cloudevents+json' },
    body: JSON.stringify({
      specversion: '1.0',
      id: 'e-2',
      source: 'sensor',
      type: 'hot',
      expirytime: expiry,
      data: { t: 1 },
    }),
  });
  expect(event.status).toBe(202);
  expect(await event.json()).toMatchObject({ message_id: 'e-2', receivers: 2 });
  await told.seen('STORED e-2 rx');
  await told.seen('STORED e-2 tx');
  // Neither handles its type.
  await until(
    () => told.traces,
    (traces) => traces.filter(({ messageId, step }) => messageId === 'e-2' && step >= S.DONE).length >= 2,
    {
      what: 'the ends of the event',
    },
  );
  expect(onlyDeclined.words()).toContain('DECLINED e-2 rx');
  expect(onlyDeclined.traces.every(({ step }) => step === S.DECLINED)).toBe(true);

  // Both replicas counted the same.
  const count = (messages: Client<typeof MessageService>) =>
    messages.listMessageLinks({ sender: 'tx', receiver: 'rx' });
  const links = await until(
    async () => [await count(here), await count(there)] as const,
    (both) => both.every(({ links: [link] }) => (link?.done ?? 0n) >= 2n && (link?.keptBack ?? 0n) >= 1n),
    { what: 'equal counts' },
  );
  const shown = links.map(({ links: [link] }) => ({
    sent: link?.sent,
    done: link?.done,
    inFlight: link?.inFlight,
  }));
  expect(shown[0]).toEqual(shown[1]);
  expect(links[1].links[0]?.doneLatency?.p50).toBeDefined();
}

describe('the traffic of messages', () => {
  test('on Redis: of two agents at one replica, followed at the other', async () => {
    const redis = await startRedis();
    cleanups.push(async () => void (await redis.stop()));
    const [one, two] = await replicas(2, redis.url);
    if (one === undefined || two === undefined) throw new Error('no replicas');
    await follow(one, two);
  });

  test('on the embedded store', async () => {
    const [one] = await replicas(1);
    if (one === undefined) throw new Error('no replica');
    await follow(one, one);
  });
});
