import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { create, toBinary } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  DeliveryUpdate_State,
  GoAway_Reason,
  OpenSessionRequestSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { GrpcReader, grpcHeaders, H2Client, h2Frame } from '../support/h2-client.ts';
import type { SimSession } from '../support/sim-agent.ts';
import { Stack } from '../support/stack.ts';
import { until, within } from '../support/until.ts';

const sessionPath = '/mycosoft.orchestrator.agent.v1.SessionService/OpenSession';
const registerPath = '/mycosoft.orchestrator.agent.v1.AgentService/RegisterAgent';

describe('what breaks the protocol', () => {
  let stack: Stack;
  let witness: SimSession;
  let count = 0;

  beforeAll(async () => {
    stack = await Stack.start('lmdb');
    witness = await stack.agent({ id: 'witness' }).join();
  });
  afterAll(async () => {
    await stack?.dispose();
  });
  /** After each fault an innocent session still gets its pings and no session is left over. */
  afterEach(async () => {
    const pings = witness.pings.length;
    await until(
      () => witness.pings.length,
      (now) => now > pings,
      { what: 'pings of the witness' },
    );
    await until(
      async () => (await stack.clients.monitoring.getSystemStatus({})).status?.replica?.sessions,
      (sessions) => sessions === 1,
      { what: 'the broken session to be gone' },
    );
  });

  const fresh = async () => {
    const agent = stack.agent({ id: `breaker-${count++}` });
    await agent.register();
    return agent;
  };
  const endOf = async (session: SimSession) => {
    const { code, metadata } = await within(session.ended, 5000, 'the end of the session');
    return { code, reason: metadata.get('error-reason')[0] };
  };
  const violation = { code: status.INVALID_ARGUMENT, reason: 'PROTOCOL_VIOLATION' };
  const encode = (frame: Parameters<SimSession['send']>[0]) =>
    Buffer.from(toBinary(OpenSessionRequestSchema, create(OpenSessionRequestSchema, frame)));
  const heartbeat = encode({ frame: { case: 'heartbeat', value: {} } });

  const firstFrames: [string, Buffer, object][] = [
    ['a heartbeat', heartbeat, violation],
    ['a goodbye', encode({ frame: { case: 'leave', value: {} } }), violation],
    ['an empty message', Buffer.alloc(0), { code: status.INVALID_ARGUMENT }],
    [
      'a frame kind of the future',
      Buffer.from([0xaa, 0x06, 0x02, 0x08, 0x01]),
      { code: status.INVALID_ARGUMENT },
    ],
    ['bytes that are no protobuf', Buffer.from([0xff, 0xff, 0xff, 0xff]), { reason: 'MALFORMED_MESSAGE' }],
    ['a cut-off message', Buffer.from([0x12, 0x20, 0x0a]), { reason: 'MALFORMED_MESSAGE' }],
    ['random bytes', randomBytes(300), { code: status.INVALID_ARGUMENT }],
    [
      'invalid UTF-8',
      Buffer.from([0x12, 0x04, 0x22, 0x02, 0xc3, 0x28]),
      { code: status.INVALID_ARGUMENT, reason: 'MALFORMED_MESSAGE' },
    ],
  ];
  it.each(firstFrames)('is refused when the first frame is %s', async (_, bytes, expected) => {
    const agent = await fresh();
    const session = agent.openSilently();
    session.sendRaw(bytes);
    expect(await endOf(session)).toMatchObject(expected);
    const { agent: seen } = await stack.clients.agents.getAgent({ agentId: agent.id });
    expect(seen?.observation?.sessionEpoch ?? 0n).toBe(0n);
  });

  const laterFrames: [string, Buffer, object][] = [
    ['a second hello', encode({ frame: { case: 'hello', value: {} } }), violation],
    [
      'an unknown frame',
      Buffer.from([0xaa, 0x06, 0x02, 0x08, 0x01]),
      { code: status.INVALID_ARGUMENT, reason: 'UNKNOWN_FRAME' },
    ],
    [
      'a frame of a feature that was not agreed on',
      encode({
        frame: {
          case: 'send',
          value: { message: { id: '1', type: 'test' }, to: { case: 'agentId', value: 'x' } },
        },
      }),
      { reason: 'UNKNOWN_FRAME' },
    ],
    ['malformed protobuf', Buffer.from([0x1a, 0x7f, 0x01]), { reason: 'MALFORMED_MESSAGE' }],
    [
      'a load that is not a number',
      encode({ frame: { case: 'heartbeat', value: { report: { load: Number.NaN, activity: 'ä b' } } } }),
      { code: status.INVALID_ARGUMENT, reason: 'INVALID_FIELDS' },
    ],
    [
      'a negative delay',
      encode({ frame: { case: 'heartbeat', value: { held: { seconds: -1n, nanos: 0 } } } }),
      { reason: 'INVALID_FIELDS' },
    ],
    [
      'more than a message may hold',
      Buffer.alloc(1_100_000),
      { code: status.RESOURCE_EXHAUSTED, reason: 'MESSAGE_TOO_LARGE' },
    ],
  ];
  it.each(laterFrames)('ends the session with %s', async (_, bytes, expected) => {
    const agent = await fresh();
    const session = agent.attach();
    await session.welcome;
    session.sendRaw(bytes);
    expect(await endOf(session)).toMatchObject(expected);
    if (JSON.stringify(expected).includes('TOO_LARGE')) return; // refused by the transport: no frame before it
    expect(session.goAway?.reason).toBe(GoAway_Reason.PROTOCOL);
  });

  it('answers a frame with a frame_id by a result when only its content is at fault', async () => {
    const session = await (await fresh()).join();
    session.send({
      frameId: 'f1',
      frame: {
        case: 'deliveryUpdate',
        value: { work: { deliveryId: 'nobody-knows-it', attempt: 1n }, state: DeliveryUpdate_State.ACCEPTED },
      },
    });
    const [result] = await until(
      () => session.results,
      (results) => results.length > 0,
    );
    expect(result).toMatchObject({ frameId: 'f1' });
    expect(result?.code).not.toBe(0);
    await session.leave();
  });

  it('refuses frames after leave', async () => {
    const agent = await fresh();
    const session = agent.attach();
    await session.welcome;
    session.send({ frame: { case: 'leave', value: {} } });
    session.sendRaw(heartbeat);
    const end = await endOf(session);
    // The goodbye counts; what follows it is refused if it arrives before the server has ended the call.
    expect([status.OK, status.INVALID_ARGUMENT]).toContain(end.code);
    const { agent: seen } = await stack.clients.agents.getAgent({ agentId: agent.id });
    expect(seen?.verdict?.rule).toBe('left');
  });

  it('ignores echoes that were never sent, however many', async () => {
    const session = await (await fresh()).join();
    for (let i = 1n; i <= 500n; i++) {
      session.send({ frame: { case: 'heartbeat', value: { echo: 0xffff_ffff_ffff_ff00n + (i % 255n) } } });
    }
    const pings = session.pings.length;
    await until(
      () => session.pings.length,
      (now) => now > pings + 1,
    );
    await session.leave();
  });

  it.each([
    ['a length of 4 GiB', Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3])],
    ['a compressed message without an encoding', Buffer.from([1, 0, 0, 0, 2, 8, 1])],
    ['half a message', Buffer.from([0, 0, 0, 0, 9, 0x12])],
    ['a reserved flag', Buffer.from([0x7f, 0, 0, 0, 1, 0])],
  ])('cuts off a stream with %s', async (_, payload) => {
    const agent = await fresh();
    const [host = '', port] = stack.service.grpc.split(':');
    const client = new H2Client({ host, port: Number(port) });
    const ended = new Promise((resolve) => {
      const headers = grpcHeaders(sessionPath, stack.service.grpc, {
        authorization: `Bearer ${agent.token}`,
      });
      const id = client.open(headers, { data: () => {}, end: resolve });
      client.socket.write(h2Frame(0, 0, id, payload));
    });
    await within(ended, 8000, 'the end of the stream');
    client.close();
  });

  it.each([
    ['random bytes', randomBytes(4096)],
    ['HTTP/1.1', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    [
      'a frame of 16 MiB',
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x00\x00\x00\x00\x00\x01', 'latin1'),
    ],
    ['TLS', Buffer.from('16030100a5010000a10303', 'hex')],
  ])('closes a connection that speaks %s to the gRPC port', async (_, bytes) => {
    const [host, port] = stack.service.grpc.split(':');
    const socket = connect({ host, port: Number(port) });
    socket.on('error', () => {});
    socket.resume();
    socket.write(bytes);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    await within(closed, 5000, 'the end of the connection');
  });

  it('takes unary calls of garbage without harm', async () => {
    const [host = '', port] = stack.service.grpc.split(':');
    const client = new H2Client({ host, port: Number(port) });
    await client.connected();
    let answers = 0;
    const calls = Array.from({ length: 200 }, () => {
      const reader = new GrpcReader({ onMessage: () => answers++ });
      return new Promise((resolve) => {
        const stream = { data: (payload: Buffer) => reader.read(payload), end: resolve };
        client.open(grpcHeaders(registerPath, stack.service.grpc), stream, randomBytes(100), true);
      });
    });
    await within(Promise.all(calls), 10_000, 'the answers');
    expect(answers).toBeLessThan(20); // random bytes are a valid, empty-looking message once in a while
    client.close();
  });
});
