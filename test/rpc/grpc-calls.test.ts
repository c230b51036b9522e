import { constants } from 'node:http2';
import { create, toBinary } from '@bufbuild/protobuf';
import { anyIs, anyUnpack } from '@bufbuild/protobuf/wkt';
import { type ServiceError, status as Status } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import { BadRequestSchema } from '../../gen/google/rpc/error_details_pb.ts';
import {
  AgentService,
  ListAgentsRequestSchema,
  WatchAgentsRequestSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { gateServices } from '../../src/rpc/method-gate.ts';
import { fakeAgentService, fakePipeline, until } from './fakes.ts';
import { detailsOf, grpcClient, rawGrpcStream, startGrpc } from './grpc-support.ts';

const { getAgent, listAgents, watchAgents } = AgentService.method;
const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp(
  options: Parameters<typeof startGrpc>[1] & { agents?: ReturnType<typeof fakeAgentService> } = {},
) {
  const agents = options.agents ?? fakeAgentService();
  const { agents: _, ...rest } = options;
  const server = await startGrpc([agents.binding], rest);
  const client = grpcClient(server.target);
  cleanups.push(
    () => server.listener.close({ graceMs: 0 }),
    () => client.close(),
  );
  return { ...server, client, agents };
}

async function failure(promise: Promise<unknown>): Promise<ServiceError> {
  return promise.then(
    () => {
      throw new Error('the call succeeded');
    },
    (error: ServiceError) => error,
  );
}

/** A promise for the error that ends a stream, and what came before. */
function drain(
  stream: NodeJS.ReadableStream,
): Promise<{ messages: number; error: ServiceError | undefined }> {
  return new Promise((resolve) => {
    let messages = 0;
    stream.on('data', () => {
      messages += 1;
    });
    stream.on('error', (error) => resolve({ messages, error: error as unknown as ServiceError }));
    stream.on('end', () => setImmediate(() => resolve({ messages, error: undefined })));
  });
}

test('a unary call is answered, and its handler knows peer, principal and time left', async () => {
  const { client, agents, outcomes } = await setUp();
  const token = `orch1.${Buffer.from('default/a-1').toString('base64url')}.secret`;
  const response = await client.unary(
    getAgent,
    { agentId: 'a-1' },
    { metadata: { authorization: `Bearer ${token}`, traceparent: '00-1-2-01' }, deadlineMs: 5_000 },
  );
  expect(response.agent?.namespace).toBe('agent:default/a-1');
  const [context] = agents.contexts;
  expect(context?.peer).toMatch(/^127\.0\.0\.1:\d+$/);
  expect(context?.principal.token).toBe(token);
  expect(context?.timeLeftMs()).toBeGreaterThan(1_000);
  expect(outcomes).toMatchObject([{ method: 'GetAgent', code: 0, traceparent: '00-1-2-01' }]);
});

test('a domain error arrives with code, ErrorInfo and plain metadata', async () => {
  const { client } = await setUp();
  const error = await failure(client.unary(getAgent, { agentId: 'missing' }));
  expect(error.code).toBe(Status.NOT_FOUND);
  expect(error.details).toBe('there is no agent "missing"');
  expect(error.metadata.get('error-reason')).toEqual(['AGENT_NOT_FOUND']);
  const { reason, metadata, status } = detailsOf(error);
  expect({ reason, metadata, code: status.code }).toEqual({
    reason: 'AGENT_NOT_FOUND',
    metadata: { agent_id: 'missing' },
    code: 5,
  });
});

test('an unexpected error leaks nothing and can be found in the log by its id', async () => {
  const { client, logged } = await setUp();
  const error = await failure(client.unary(getAgent, { agentId: 'crash' }));
  expect(error.code).toBe(Status.INTERNAL);
  const { metadata } = detailsOf(error);
  expect(JSON.stringify([error.details, error.metadata.toJSON()])).not.toContain('secret');
  const line = logged.find(({ level }) => level === 'error');
  expect(line?.fields.error_id).toBe(metadata.error_id);
  expect(line?.fields.err).toMatchObject({ message: 'secret detail /etc/passwd' });
  expect(logged.filter(({ level }) => level === 'warn')).toHaveLength(1);
});

test('all violated fields are listed', async () => {
  const violations = Array.from({ length: 5 }, (_, i) => ({ field: `f${i}`, description: 'is wrong' }));
  const { client } = await setUp({ fake: fakePipeline({ validate: () => violations }) });
  const error = await failure(client.unary(getAgent, {}));
  expect(error.code).toBe(Status.INVALID_ARGUMENT);
  const detail = detailsOf(error).status.details.find((any) => anyIs(any, BadRequestSchema));
  const bad = detail && anyUnpack(detail, BadRequestSchema);
  expect(bad?.fieldViolations.map(({ field }) => field)).toEqual(['f0', 'f1', 'f2', 'f3', 'f4']);
});

test.each([
  ['a truncated message', Buffer.from([0x0a, 0x7f, 0x61])],
  ['invalid UTF-8', Buffer.from([0x12, 0x02, 0xc3, 0x28])],
  ['a wrong wire type', Buffer.from([0x0b, 0x01])],
  ['nothing but ones', Buffer.alloc(64, 0xff)],
])('%s is the caller’s mistake', async (_, bytes) => {
  const { client, logged } = await setUp();
  const error = await failure(client.unary(getAgent, bytes));
  expect(error.code).toBe(Status.INVALID_ARGUMENT);
  expect(detailsOf(error).reason).toBe('MALFORMED_MESSAGE');
  expect(logged.filter(({ level }) => level === 'error')).toEqual([]);
});

test('a message over the limit is refused with its reason, one at the limit is read', async () => {
  const { client } = await setUp({ maxMessageBytes: 2_000 });
  const big = (bytes: number) =>
    Buffer.concat([Buffer.from([0x12, 0x80 | (bytes & 0x7f), bytes >> 7]), Buffer.alloc(bytes, 'a')]);
  await client.unary(getAgent, big(1_997));
  const error = await failure(client.unary(getAgent, big(1_998)));
  expect(error.code).toBe(Status.RESOURCE_EXHAUSTED);
  expect(detailsOf(error).reason).toBe('MESSAGE_TOO_LARGE');
});

test('an unknown method is UNIMPLEMENTED', async () => {
  const { client } = await setUp();
  const unknown = { ...getAgent, name: 'Nope' } as unknown as typeof getAgent;
  expect((await failure(client.unary(unknown, new Uint8Array()))).code).toBe(Status.UNIMPLEMENTED);
});

test('a part that is turned off says so for every kind of call', async () => {
  const server = await startGrpc(gateServices([], { agent_management: [fakeAgentService().binding] }));
  const client = grpcClient(server.target);
  cleanups.push(
    () => server.listener.close({ graceMs: 0 }),
    () => client.close(),
  );
  const unary = await failure(client.unary(getAgent, {}));
  expect([unary.code, detailsOf(unary).reason]).toEqual([Status.UNIMPLEMENTED, 'CAPABILITY_DISABLED']);
  const { error } = await drain(client.serverStream(watchAgents, new Uint8Array()));
  expect([error?.code, detailsOf(error).reason]).toEqual([Status.UNIMPLEMENTED, 'CAPABILITY_DISABLED']);
});

test('a deadline ends the call and fires the signal of its handler', async () => {
  const { client, agents, outcomes, pipeline } = await setUp();
  const error = await failure(client.unary(getAgent, { agentId: 'slow' }, { deadlineMs: 80 }));
  expect(error.code).toBe(Status.DEADLINE_EXCEEDED);
  await until(() => pipeline.active === 0, 'the call to be over');
  expect(agents.contexts[0]?.signal.aborted).toBe(true);
  expect(outcomes).toMatchObject([{ code: Status.DEADLINE_EXCEEDED, reason: 'DEADLINE_EXCEEDED' }]);
  expect(pipeline.limits.unaryInFlight).toBe(0);
});

test('a cancelled unary call releases its handler', async () => {
  const { client, agents, outcomes, pipeline } = await setUp();
  const call = client.client.makeUnaryRequest(
    '/mycosoft.orchestrator.agent.v1.AgentService/GetAgent',
    (b: Buffer) => b,
    (b: Buffer) => b,
    Buffer.from('\x12\x04slow'),
    () => {},
  );
  await until(() => agents.contexts.length === 1, 'the handler to run');
  expect(agents.contexts[0]?.signal.aborted).toBe(false);
  call.cancel();
  await until(() => pipeline.active === 0 && pipeline.limits.unaryInFlight === 0, 'the handler to let go');
  expect(outcomes).toMatchObject([{ code: Status.CANCELLED }]);
});

test('calls beyond the limit are refused with a delay after which to retry', async () => {
  const { client, agents } = await setUp({ fake: fakePipeline({ maxUnaryInFlight: 1 }) });
  const first = client.unary(getAgent, { agentId: 'slow' });
  await until(() => agents.contexts.length === 1, 'the first call to be under way');
  const error = await failure(client.unary(getAgent, { agentId: 'b' }));
  expect([error.code, detailsOf(error).reason]).toEqual([Status.RESOURCE_EXHAUSTED, 'LIMIT_REACHED']);
  expect(Number(error.metadata.get('retry-after-ms')[0])).toBeGreaterThan(0);
  agents.release();
  await first;
  await client.unary(getAgent, { agentId: 'b' });
});

test('a stream is delivered to its end', async () => {
  const { client, agents, outcomes, pipeline } = await setUp();
  const request = toBinary(WatchAgentsRequestSchema, create(WatchAgentsRequestSchema, { cursor: '500' }));
  expect(await drain(client.serverStream(watchAgents, request))).toEqual({ messages: 500, error: undefined });
  expect(agents.watch).toMatchObject({ opened: 1, closed: 1 });
  expect(outcomes).toMatchObject([{ code: 0 }]);
  expect(pipeline.limits.watches).toBe(0);
});

test('a stream whose client leaves releases its handler', async () => {
  const { client, agents, pipeline } = await setUp();
  const request = create(WatchAgentsRequestSchema, { namespace: 'forever' });
  const stream = client.serverStream(watchAgents, toBinary(WatchAgentsRequestSchema, request));
  stream.on('error', () => {});
  await new Promise((resolve) => stream.once('data', resolve));
  stream.cancel();
  await until(() => agents.watch.closed === 1 && pipeline.active === 0, 'the handler to let go');
  expect(pipeline.limits.watches).toBe(0);
});

test('a watch beyond the limit is refused', async () => {
  const { client, agents } = await setUp({ fake: fakePipeline({ maxWatches: 1 }) });
  const request = toBinary(
    WatchAgentsRequestSchema,
    create(WatchAgentsRequestSchema, { namespace: 'forever' }),
  );
  const first = client.serverStream(watchAgents, request);
  first.on('error', () => {});
  await until(() => agents.watch.opened === 1, 'the first watch');
  const { error } = await drain(client.serverStream(watchAgents, request));
  expect(detailsOf(error).reason).toBe('LIMIT_REACHED');
  first.cancel();
});

test('a watcher that does not read is not pulled from, and is cut off', async () => {
  const { target, agents, pipeline, outcomes } = await setUp({
    fake: fakePipeline({ drainTimeoutMs: 200 }),
    drainTimeoutMs: 200,
  });
  const request = toBinary(WatchAgentsRequestSchema, create(WatchAgentsRequestSchema, { cursor: '100000' }));
  const stream = rawGrpcStream(target, watchAgents, [request]);
  stream.request.end();
  const reset = new Promise((resolve) => stream.request.once('close', () => resolve(stream.request.rstCode)));
  await until(() => pipeline.active === 0 && agents.watch.opened === 1, 'the watcher to be cut off');
  expect(agents.watch.pulled).toBeLessThan(1_000);
  expect(outcomes).toMatchObject([{ reason: 'SLOW_CONSUMER' }]);
  await until(() => agents.watch.closed === 1, 'the handler to be closed');
  expect(await reset).toBe(constants.NGHTTP2_CANCEL);
  stream.close();
});

test('an overlong or malformed authorization never becomes a name', async () => {
  const { client } = await setUp();
  const long = await failure(
    client.unary(getAgent, { agentId: 'a' }, { metadata: { authorization: `Bearer ${'x'.repeat(2_000)}` } }),
  );
  expect([long.code, detailsOf(long).reason]).toEqual([Status.UNAUTHENTICATED, 'TOKEN_INVALID']);
  for (const authorization of ['Basic abc', 'Bearer', 'Bearer nonsense', 'Bearer orch1.Li4v.s']) {
    const response = await client.unary(getAgent, { agentId: 'a' }, { metadata: { authorization } });
    expect(response.agent?.namespace).toBe('anonymous');
  }
});

test('a large answer is not limited by the request limit', async () => {
  const { client } = await setUp({ maxMessageBytes: 1_000 });
  expect((await client.unary(listAgents, { pageSize: 3_000 })).agents).toHaveLength(3_000);
});

test('answers that nobody reads count as calls under way until they are cut off', async () => {
  const { target, client, pipeline } = await setUp({
    fake: fakePipeline({ maxUnaryInFlight: 3 }),
    drainTimeoutMs: 300,
  });
  const request = toBinary(ListAgentsRequestSchema, create(ListAgentsRequestSchema, { pageSize: 500 }));
  const unread = [1, 2, 3].map(() => {
    const stream = rawGrpcStream(target, listAgents, [request]);
    stream.request.end();
    cleanups.push(() => stream.close());
    return new Promise((resolve) => stream.request.once('close', resolve));
  });
  await until(() => pipeline.limits.unread === 3, 'three unread answers');
  const error = await failure(client.unary(getAgent, { agentId: 'a' }));
  expect(detailsOf(error).reason).toBe('LIMIT_REACHED');
  await Promise.all(unread);
  await client.unary(getAgent, { agentId: 'a' });
  await until(() => pipeline.limits.unread === 0, 'nothing to be unread');
});
