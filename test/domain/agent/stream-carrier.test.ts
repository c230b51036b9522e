import { create, toBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import type { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  GoAway_Reason,
  OpenSessionRequestSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { StreamCarrier } from '../../../src/domain/agent/stream-carrier.ts';
import { durationFromMs } from '../../../src/lib/proto-time.ts';
import {
  beat,
  DISCONNECTED,
  FakeChannel,
  fleet,
  goAways,
  hello,
  LEFT,
  leave,
  open,
  opened,
  protocolOptions,
  results,
  type Up,
  useFleet,
} from './conversation-fixture.ts';
import { turns } from './fleet-fixture.ts';

useFleet();

describe('a session stream', () => {
  it.each([
    ['REBALANCE', true],
    ['SHUTDOWN', true],
    ['SUPERSEDED', false],
    ['LOST', false],
  ] as const)('that ends with goaway %s retires its connection: %s', async (reason, retired) => {
    const { channel, carrier } = await opened();
    carrier.goAway(GoAway_Reason[reason], 'for a test', 0);
    expect(goAways(channel)).toHaveLength(1);
    expect(channel.end_?.retire).toBe(retired);
  });

  it('answers hello with welcome, which tells epoch, pace and limits', async () => {
    const { channel } = await opened();
    const [welcome] = channel.frames;
    expect(welcome?.frame.value).toMatchObject({
      epoch: fleet.sessions.get('default', 'a1')?.epoch,
      replicaId: 'replica-1',
      maxFrameBytes: 1 << 20,
      pingInterval: durationFromMs(5_000),
      lease: durationFromMs(30_000),
    });
  });

  it.each<[string, Up[], string]>([
    ['a heartbeat first', [beat()], 'PROTOCOL_VIOLATION'],
    ['a frame of no known kind first', [{}], 'PROTOCOL_VIOLATION'],
    ['hello twice', [hello, hello], 'PROTOCOL_VIOLATION'],
    ['a frame after leave', [hello, leave, beat()], 'PROTOCOL_VIOLATION'],
    ['a frame of no known kind', [hello, {}], 'UNKNOWN_FRAME'],
    [
      'a message that was not agreed on',
      [
        hello,
        {
          frame: {
            case: 'send',
            value: { message: { id: 'm', type: 't' }, to: { case: 'agentId', value: 'a1' } },
          },
        },
      ],
      'UNKNOWN_FRAME',
    ],
    [
      'invalid fields without a frame id',
      [hello, { frame: { case: 'heartbeat', value: { held: durationFromMs(-5) } } }],
      'INVALID_FIELDS',
    ],
    [
      'invalid fields in hello',
      [{ frameId: 'f', frame: { case: 'hello', value: { maxInFlight: 1_000_000 } } }],
      'INVALID_FIELDS',
    ],
    ['a frame id that is too long', [hello, beat('x'.repeat(200))], 'INVALID_FIELDS'],
  ])('ends with goaway PROTOCOL on %s', async (_, frames, reason) => {
    const { channel, send } = open();
    for (const frame of frames) {
      send(frame);
      if (frame === hello) await turns(3);
    }
    await turns(3);
    expect(goAways(channel)).toEqual([GoAway_Reason.PROTOCOL]);
    expect(channel.reason).toBe(reason);
    expect(fleet.sessions.size).toBe(0);
  });

  it.each([
    ['bytes that are no message', Uint8Array.from([0x1a, 0xff, 0xff])],
    ['invalid UTF-8', Uint8Array.from([0x0a, 0x02, 0xff, 0xfe])],
  ])('ends on %s, and the agent is DISCONNECTED', async (_, bytes) => {
    const { channel, carrier } = await opened();
    carrier.message(bytes);
    await fleet.settle();
    expect(channel.reason).toBe('MALFORMED_MESSAGE');
    expect(fleet.liveness('a1')).toBe(DISCONNECTED);
  });

  it('answers a refused frame that has an id, and goes on', async () => {
    const { channel, send } = await opened();
    send({ frameId: 'bad', frame: { case: 'heartbeat', value: { held: durationFromMs(-5) } } });
    send({
      frameId: 'none',
      frame: { case: 'deliveryUpdate', value: { work: { deliveryId: 'd' }, state: 1 } },
    });
    await turns();
    send({ frameId: 'what' });
    send(beat('good'));
    expect(results(channel.frames)).toEqual([
      ['bad', 'INVALID_FIELDS'],
      ['none', 'DELIVERY_UNKNOWN'],
      ['what', 'UNKNOWN_FRAME'],
      ['good', ''],
    ]);
    expect(channel.end_).toBeUndefined();
  });

  it.each<[string, string | undefined]>([
    ['no token', undefined],
    ['no token of ours', 'abc'],
  ])('is refused with %s', async (_, other) => {
    const channel = new FakeChannel();
    const carrier = new StreamCarrier({
      protocol: protocolOptions(),
      channel,
      clock: fleet.clock,
      token: other,
      wheel: fleet.wheel,
      helloTimeoutMs: 10_000,
      windowBytes: 1_000,
    });
    carrier.message(toBinary(OpenSessionRequestSchema, create(OpenSessionRequestSchema, hello)));
    await turns(3);
    expect([channel.reason, channel.cases()]).toEqual(['TOKEN_INVALID', []]);
  });

  it('is cut off without hello in time, but not a moment later', async () => {
    const silent = open();
    const { channel } = await opened();
    await fleet.pass(9_900);
    expect(silent.channel.end_).toBeUndefined();
    await fleet.pass(200);
    expect(silent.channel.reason).toBe('PROTOCOL_VIOLATION');
    expect(channel.end_).toBeUndefined();
  });

  it('keeps frames that come before welcome, in order, and no more than a few', async () => {
    const { channel, send } = open();
    send(hello);
    for (let index = 0; index < 64; index += 1) send(beat(`f${index}`));
    await turns(3);
    expect(results(channel.frames).map(([id]) => id)).toEqual(
      Array.from({ length: 64 }, (_, index) => `f${index}`),
    );
    const flood = open();
    flood.send(hello);
    for (let index = 0; index < 65; index += 1) flood.send(beat());
    await fleet.settle();
    expect(flood.channel.reason).toBe('LIMIT_REACHED');
    expect(fleet.sessions.get('default', 'a1')).toBeUndefined();
  });

  it.each<[string, Up]>([
    ['plain heartbeats', beat()],
    ['frames with ids', beat('f')],
  ])('ends on a flood of %s, and takes a steady stream of them', async (_, frame) => {
    const { channel, send } = await opened();
    for (let second = 0; second < 3; second += 1) {
      for (let index = 0; index < 1_990; index += 1) send(frame);
      await fleet.pass(1_000);
    }
    expect(channel.end_).toBeUndefined();
    for (let index = 0; index < 2_001; index += 1) send(frame);
    expect(channel.reason).toBe('LIMIT_REACHED');
    expect(fleet.sessions.size).toBe(0);
  });

  it('that is half-closed without leave is a lost connection, not a goodbye', async () => {
    const { channel, carrier } = await opened();
    carrier.halfClosed();
    await fleet.settle();
    expect([channel.end_?.error, fleet.liveness('a1')]).toEqual([undefined, DISCONNECTED]);
  });

  it('ends well after leave, once that is stored, also when the client half-closed with it', async () => {
    for (const frameId of ['', 'bye']) {
      const { channel, carrier, send } = await opened();
      let stored: Agent_Liveness | undefined;
      const end = channel.end.bind(channel);
      channel.end = (error, options) => {
        stored ??= fleet.liveness('a1');
        end(error, options);
      };
      send({ ...leave, frameId });
      carrier.halfClosed();
      await fleet.settle();
      expect(channel.end_).toMatchObject({ error: undefined, abort: false });
      expect(stored).toBe(LEFT);
      expect(results(channel.frames)).toEqual(frameId === '' ? [] : [['bye', '']]);
    }
  });

  it('that closes while it attaches leaves no session behind', async () => {
    const { carrier, send } = open();
    send(hello);
    carrier.closed();
    await fleet.settle();
    expect([fleet.sessions.size, fleet.liveness('a1')]).toEqual([0, DISCONNECTED]);
  });

  it('is refused while the store is away, and the agent may try again', async () => {
    fleet.store.faults.away = true;
    const { channel, send } = open();
    send(hello);
    await turns(3);
    expect(channel.end_?.error).toMatchObject({ name: 'StoreUnavailableError' });
    expect(channel.frames).toEqual([]);
  });

  it('says goaway with the reason and the status that fits when it is superseded, revoked or sent away', async () => {
    const first = await opened();
    const second = await opened();
    expect([goAways(first.channel), first.channel.reason]).toEqual([
      [GoAway_Reason.SUPERSEDED],
      'SESSION_SUPERSEDED',
    ]);
    await fleet.sessions.leave(0);
    const frame = second.channel.frames.at(-1)?.frame;
    expect(frame?.case === 'goAway' ? frame.value : undefined).toMatchObject({
      reason: GoAway_Reason.SHUTDOWN,
    });
    expect(frame?.case === 'goAway' ? frame.value.reconnectAfter : undefined).toBeDefined();
    expect([second.channel.reason, second.channel.end_?.abort]).toEqual(['SHUTTING_DOWN', false]);
  });
});

describe('the outbound window', () => {
  it('holds results back for a client that does not read, lets one ping wait, and keeps their order', async () => {
    const { channel, send } = await opened(200);
    channel.reads = false;
    const before = channel.frames.length;
    for (let index = 0; index < 50; index += 1) send(beat(`frame-${index}`));
    const passed = channel.frames.length - before;
    expect(channel.pendingBytes()).toBeLessThan(200 + 64);
    await fleet.pass(9_000);
    expect(channel.frames.length - before, 'pings wait as well').toBe(passed);
    channel.drain();
    const after = channel.frames.slice(before + passed);
    expect(after.filter(({ frame }) => frame.case === 'ping')).toHaveLength(1);
    expect(after[0]?.frame.case).toBe('ping');
    expect(results(channel.frames).map(([id]) => id)).toEqual(
      Array.from({ length: 50 }, (_, index) => `frame-${index}`),
    );
  });

  it('cuts off a client that reads nothing for the drain time-out', async () => {
    const { channel, send } = await opened(200);
    channel.reads = false;
    for (let index = 0; index < 50; index += 1) send(beat(`frame-${index}`));
    await fleet.pass(9_800);
    expect(channel.end_).toBeUndefined();
    await fleet.pass(1_500);
    expect([channel.reason, channel.end_?.abort]).toEqual(['SLOW_CONSUMER', true]);
    expect(goAways(channel)).toEqual([GoAway_Reason.SLOW]);
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(DISCONNECTED);
  });

  it('ends the session at once when more results wait than it may hold', async () => {
    const { channel, send } = await opened(200);
    channel.reads = false;
    for (let index = 0; index < 1_500; index += 1) send(beat(`frame-${index}`));
    expect(channel.reason).toBe('SLOW_CONSUMER');
    expect(fleet.sessions.size).toBe(0);
  });
});
