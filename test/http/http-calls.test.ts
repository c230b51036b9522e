import { create, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node';
import { afterEach, describe, expect, test } from 'vitest';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import {
  AgentService,
  GetAgentRequestSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { PayloadSchema } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { gateServices } from '../../src/rpc/method-gate.ts';
import { fakeAgentService, fakePipeline, fakeSessionService, until } from '../rpc/fakes.ts';
import { framed, grpcClient } from '../rpc/grpc-support.ts';
import { failureOf, postJson, startHttp } from './http-support.ts';

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp(options: Parameters<typeof startHttp>[1] = {}) {
  const agents = fakeAgentService();
  const sessions = fakeSessionService({ echo: true });
  const server = await startHttp([agents.binding, sessions.binding], options);
  cleanups.push(() => server.listener.close({ graceMs: 0 }));
  return { ...server, agents, sessions };
}

const getAgent = 'mycosoft.orchestrator.agent.v1.AgentService/GetAgent';

describe('Connect JSON by plain fetch', () => {
  test('a call is answered, with principal, peer and deadline', async () => {
    const { url, agents, outcomes } = await setUp();
    const token = `orch1.${Buffer.from('default/a-1').toString('base64url')}.secret`;
    const response = await postJson(url, getAgent, '{"agent_id":"a-1"}', {
      authorization: `Bearer ${token}`,
      'connect-timeout-ms': '5000',
      traceparent: '00-1-2-01',
    });
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ agent: { id: 'a-1', namespace: 'agent:default/a-1' } });
    expect(agents.contexts[0]?.peer).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(agents.contexts[0]?.timeLeftMs()).toBeGreaterThan(1_000);
    expect(outcomes).toMatchObject([{ method: 'GetAgent', code: 0, traceparent: '00-1-2-01' }]);
  });

  test('a domain error has its code, reason and details', async () => {
    const { url } = await setUp();
    const failure = await failureOf(await postJson(url, getAgent, '{"agentId":"missing"}'));
    expect(failure).toMatchObject({
      status: 404,
      code: 'not_found',
      message: 'there is no agent "missing"',
      reason: 'AGENT_NOT_FOUND',
      details: [{ type: 'google.rpc.ErrorInfo', debug: { reason: 'AGENT_NOT_FOUND' } }],
    });
  });

  test('an unexpected error leaks nothing', async () => {
    const { url, logged } = await setUp();
    const failure = await failureOf(await postJson(url, getAgent, '{"agentId":"crash"}'));
    expect(failure).toMatchObject({ status: 500, code: 'internal', reason: 'INTERNAL' });
    expect(JSON.stringify(failure)).not.toContain('secret');
    expect(logged.filter(({ level }) => level === 'error')).toHaveLength(1);
  });

  test.each([
    ['malformed JSON', '{"agent_id":', 'MALFORMED_MESSAGE'],
    ['a misspelt field', '{"agentid":"a"}', 'MALFORMED_MESSAGE'],
    ['a wrong type', '{"agent_id":{}}', 'MALFORMED_MESSAGE'],
    ['deep nesting', `{"agent_id":${'['.repeat(20_000)}${']'.repeat(20_000)}}`, 'MALFORMED_MESSAGE'],
  ])('%s is the caller’s mistake, with its reason', async (_, body, reason) => {
    const { url } = await setUp();
    const failure = await failureOf(await postJson(url, getAgent, body));
    expect(failure).toMatchObject({
      status: 400,
      code: 'invalid_argument',
      reason,
      details: [{ debug: { reason } }],
    });
  });

  test('malformed protobuf and invalid UTF-8 are too', async () => {
    const { url } = await setUp();
    for (const body of [Buffer.from([0x12, 0x7f]), Buffer.from([0x12, 0x02, 0xc3, 0x28])]) {
      const response = await fetch(`${url}/${getAgent}`, {
        method: 'POST',
        headers: { 'content-type': 'application/proto' },
        body,
      });
      expect(await failureOf(response)).toMatchObject({
        code: 'invalid_argument',
        reason: 'MALFORMED_MESSAGE',
      });
    }
  });

  test('a message over the limit is refused, also when it is compressed', async () => {
    const { url } = await setUp({ maxMessageBytes: 2_000 });
    const large = await failureOf(await postJson(url, getAgent, `{"agent_id":"${'x'.repeat(3_000)}"}`));
    expect(large).toMatchObject({ code: 'resource_exhausted', reason: 'MESSAGE_TOO_LARGE' });
    const { gzipSync } = await import('node:zlib');
    const response = await fetch(`${url}/${getAgent}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      body: gzipSync(`{"agent_id":"${'x'.repeat(5_000_000)}"}`),
    });
    expect(await failureOf(response)).toMatchObject({
      code: 'resource_exhausted',
      reason: 'MESSAGE_TOO_LARGE',
    });
  });

  test('wrong content type, method, path and protocol version have an error to read', async () => {
    const { url } = await setUp();
    const call = (path: string, init: RequestInit) => fetch(`${url}/${path}`, init).then(failureOf);
    const text = { method: 'POST', headers: { 'content-type': 'text/plain' }, body: '{}' };
    expect(await call(getAgent, text)).toMatchObject({ status: 415, reason: 'METHOD_NOT_SERVED' });
    expect(await call(getAgent, { method: 'GET' })).toMatchObject({
      status: 405,
      reason: 'METHOD_NOT_SERVED',
    });
    expect(await failureOf(await postJson(url, `${getAgent}s`, '{}'))).toMatchObject({
      status: 404,
      code: 'unimplemented',
    });
    const stream = { method: 'POST', headers: { 'content-type': 'application/connect+json' }, body: '' };
    const open = await call('mycosoft.orchestrator.agent.v1.SessionService/OpenSession', stream);
    expect(open.status).toBe(505);
    expect(open.message).toContain('PollSession');
  });

  test('violated fields are listed; a part that is turned off says so', async () => {
    const fake = fakePipeline({ validate: () => [{ field: 'agent_id', description: 'is empty' }] });
    const { url } = await setUp({ fake });
    expect(await failureOf(await postJson(url, getAgent, '{}'))).toMatchObject({
      code: 'invalid_argument',
      details: [{}, { debug: { fieldViolations: [{ field: 'agent_id', description: 'is empty' }] } }],
    });
    const gated = await startHttp([...gateServices([], { agent_management: [fakeAgentService().binding] })]);
    cleanups.push(() => gated.listener.close({ graceMs: 0 }));
    expect(await failureOf(await postJson(gated.url, getAgent, '{}'))).toMatchObject({
      code: 'unimplemented',
      reason: 'CAPABILITY_DISABLED',
    });
  });

  test('a deadline ends the call', async () => {
    const { url, pipeline, agents } = await setUp();
    const response = await postJson(url, getAgent, '{"agent_id":"slow"}', { 'connect-timeout-ms': '60' });
    expect(await failureOf(response)).toMatchObject({
      code: 'deadline_exceeded',
      reason: 'DEADLINE_EXCEEDED',
    });
    expect(agents.contexts[0]?.signal.aborted).toBe(true);
    expect(pipeline.active).toBe(0);
  });

  test('a client that leaves releases its handler', async () => {
    const { url, pipeline, agents } = await setUp();
    const leaving = new AbortController();
    const call = fetch(`${url}/${getAgent}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"agent_id":"slow"}',
      signal: leaving.signal,
    }).catch(() => {});
    await until(() => agents.contexts.length === 1, 'the handler');
    leaving.abort();
    await call;
    await until(() => pipeline.active === 0 && pipeline.limits.unaryInFlight === 0, 'the handler to let go');
  });
});

test('gRPC-Web by plain fetch: frames and trailers are in the body', async () => {
  const { url } = await setUp();
  const request = toBinary(GetAgentRequestSchema, create(GetAgentRequestSchema, { agentId: 'a-1' }));
  const response = await fetch(`${url}/${getAgent}`, {
    method: 'POST',
    headers: { 'content-type': 'application/grpc-web+proto' },
    body: framed(request),
  });
  const body = Buffer.from(await response.arrayBuffer());
  expect(body[0]).toBe(0);
  expect(body.toString('latin1')).toContain('grpc-status: 0');
  const unknown = await fetch(`${url}/a.B/C`, {
    method: 'POST',
    headers: { 'content-type': 'application/grpc-web' },
  });
  expect([unknown.status, unknown.headers.get('grpc-status')]).toEqual([200, '12']);
});

describe.each([
  ['gRPC-Web', (url: string) => createGrpcWebTransport({ baseUrl: url, httpVersion: '1.1' })],
  ['gRPC', (url: string) => createGrpcTransport({ baseUrl: url })],
  [
    'Connect',
    (url: string) => createConnectTransport({ baseUrl: url, httpVersion: '2', useBinaryFormat: true }),
  ],
])('what cannot be read is refused with its reason, by %s', (_, transport) => {
  /** The real method, sent a Payload: its field 2 is any bytes, where the method has a string or a message. */
  const forged = (kind: 'unary' | 'stream') => {
    const method = AgentService.method[kind === 'unary' ? 'getAgent' : 'watchAgents'];
    return { ...method, input: PayloadSchema } as unknown as typeof AgentService.method.getAgent;
  };
  async function failureOfForged(
    url: string,
    kind: 'unary' | 'stream',
    bytes: Uint8Array,
  ): Promise<ConnectError> {
    const send = transport(url);
    const message = create(PayloadSchema, { data: { case: 'binary', value: bytes } });
    try {
      if (kind === 'unary') {
        await send.unary(forged(kind), undefined, undefined, undefined, message as never);
      } else {
        const input = (async function* () {
          yield message as never;
        })();
        const response = await send.stream(
          forged(kind) as never,
          undefined,
          undefined,
          undefined,
          input as never,
        );
        for await (const _message of response.message) break;
      }
    } catch (error) {
      return ConnectError.from(error);
    }
    throw new Error('it was read');
  }

  test.each(['unary', 'stream'] as const)('%s', async (kind) => {
    const { url, logged, pipeline } = await setUp({ maxMessageBytes: 1_000 });
    const malformed = await failureOfForged(url, kind, Buffer.from([0xc3, 0x28]));
    expect(malformed.code).toBe(Code.InvalidArgument);
    expect(malformed.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: 'MALFORMED_MESSAGE' }]);
    const large = await failureOfForged(url, kind, Buffer.alloc(2_000));
    expect(large.code).toBe(Code.ResourceExhausted);
    expect(large.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: 'MESSAGE_TOO_LARGE' }]);
    expect(logged.filter(({ level }) => level === 'error')).toEqual([]);
    expect(pipeline.active).toBe(0);
  });
});

describe.each([
  ['Connect over HTTP/1.1', (url: string) => createConnectTransport({ baseUrl: url, httpVersion: '1.1' })],
  [
    'Connect over HTTP/2 in the clear',
    (url: string) => createConnectTransport({ baseUrl: url, httpVersion: '2' }),
  ],
  ['gRPC-Web over HTTP/1.1', (url: string) => createGrpcWebTransport({ baseUrl: url, httpVersion: '1.1' })],
  ['gRPC over HTTP/2 in the clear', (url: string) => createGrpcTransport({ baseUrl: url })],
])('%s', (_, transport) => {
  test('unary calls, streams, their errors and their end', async () => {
    const { url, agents, pipeline } = await setUp();
    const client = createClient(AgentService, transport(url));
    expect((await client.getAgent({ agentId: 'a' })).agent?.id).toBe('a');
    const error = await client
      .getAgent({ agentId: 'missing' })
      .catch((reason: unknown) => ConnectError.from(reason));
    if (!(error instanceof ConnectError)) throw new Error('it succeeded');
    expect(error.code).toBe(Code.NotFound);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: 'AGENT_NOT_FOUND' }]);
    expect(error.metadata.get('error-reason')).toBe('AGENT_NOT_FOUND');
    let messages = 0;
    for await (const _message of client.watchAgents({ cursor: '100' })) messages += 1;
    expect(messages).toBe(100);
    const leaving = new AbortController();
    const forever = client.watchAgents({ namespace: 'forever' }, { signal: leaving.signal });
    const watched = (async () => {
      for await (const _message of forever) leaving.abort();
    })();
    await expect(watched).rejects.toThrow();
    await until(() => agents.watch.closed === 2 && pipeline.active === 0, 'the handlers to let go');
    expect(pipeline.limits.watches).toBe(0);
  });
});

test('a grpc-js client can use the HTTP port too', async () => {
  const { port } = await setUp();
  const client = grpcClient(`127.0.0.1:${port}`);
  cleanups.push(() => client.close());
  expect((await client.unary(AgentService.method.getAgent, { agentId: 'a' })).agent?.id).toBe('a');
});
