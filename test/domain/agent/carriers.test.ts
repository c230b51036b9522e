import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  GoAway_Reason,
  OpenSessionRequestSchema,
  type OpenSessionResponse,
  OpenSessionResponseSchema,
  PollSessionRequestSchema,
  type PollSessionResponse,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { PollSessions } from '../../../src/domain/agent/poll-sessions.ts';
import type { SessionProtocolOptions } from '../../../src/domain/agent/session-protocol.ts';
import { type FrameChannel, StreamCarrier } from '../../../src/domain/agent/stream-carrier.ts';
import { validateFrame } from '../../../src/domain/validation/frames.ts';
import { DomainError } from '../../../src/lib/errors.ts';
import { durationFromMs, msFromDuration } from '../../../src/lib/proto-time.ts';
import { rejection, startFleet, type TestFleet, turns } from './fleet-fixture.ts';

const { CONNECTED, DISCONNECTED, LEFT } = Agent_Liveness;
type Up = MessageInitShape<typeof OpenSessionRequestSchema>;

const nameOf = (error: DomainError): string =>
  Object.entries(ErrorReason).find(([, reason]) => reason === error.reason)?.[0] ?? '';

let fleet: TestFleet;
let token: string;
beforeEach(async () => {
  fleet = await startFleet();
  token = await fleet.register('a1');
});
afterEach(() => fleet.stop());

function protocolOptions(): SessionProtocolOptions {
  return {
    sessions: fleet.sessions,
    background: fleet.background,
    validateFrame,
    wireError: (error) => ({
      code: 3,
      reason: error instanceof DomainError ? nameOf(error) : 'INTERNAL',
      detail: error instanceof Error ? error.message : '',
      retryAfterMs: error instanceof DomainError ? error.retryAfterMs : undefined,
    }),
    replicaId: 'replica-1',
    maxFrameBytes: 1 << 20,
    reconnectGraceMs: 30_000,
    pacing: fleet.pacing,
  };
}

/** A stream whose client reads at once, or (`reads` false) not at all. */
class FakeChannel implements FrameChannel {
  readonly peer = '192.0.2.7:7';
  readonly frames: OpenSessionResponse[] = [];
  reads = true;
  end_: { error: unknown; abort: boolean } | undefined;
  onDrain: (() => void) | undefined;
  #pending = 0;

  send(message: Uint8Array): void {
    if (this.end_ !== undefined) throw new Error('sent after the end');
    this.frames.push(fromBinary(OpenSessionResponseSchema, message));
    if (!this.reads) this.#pending += message.length;
  }

  pendingBytes(): number {
    return this.#pending;
  }

  end(error?: unknown, options?: { abort?: boolean }): void {
    this.end_ ??= { error, abort: options?.abort === true };
  }

  drain(): void {
    this.reads = true;
    this.#pending = 0;
    this.onDrain?.();
  }

  cases(): (string | undefined)[] {
    return this.frames.map(({ frame }) => frame.case);
  }

  get reason(): string | undefined {
    const error = this.end_?.error;
    return error instanceof DomainError ? nameOf(error) : undefined;
  }
}

function open(windowBytes = 256 << 10, with_: string | undefined = token) {
  const channel = new FakeChannel();
  const carrier = new StreamCarrier({
    protocol: protocolOptions(),
    channel,
    clock: fleet.clock,
    token: with_,
    wheel: fleet.wheel,
    helloTimeoutMs: 10_000,
    windowBytes,
  });
  const send = (frame: Up): void =>
    carrier.message(toBinary(OpenSessionRequestSchema, create(OpenSessionRequestSchema, frame)));
  return { channel, carrier, send };
}

const hello: Up = { frame: { case: 'hello', value: { instanceId: 'p1' } } };
const beat = (frameId = ''): Up => ({ frameId, frame: { case: 'heartbeat', value: {} } });
const leave: Up = { frame: { case: 'leave', value: { reason: 'done' } } };

async function opened(windowBytes?: number) {
  const stream = open(windowBytes);
  stream.send(hello);
  await turns(3);
  expect(stream.channel.cases()).toEqual(['welcome']);
  return stream;
}

const goAways = (channel: FakeChannel): GoAway_Reason[] =>
  channel.frames.flatMap(({ frame }) => (frame.case === 'goAway' ? [frame.value.reason] : []));
const results = (frames: readonly OpenSessionResponse[]) =>
  frames.flatMap(({ frame }) => (frame.case === 'result' ? [[frame.value.frameId, frame.value.reason]] : []));

describe('a session stream', () => {
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
      [hello, { frame: { case: 'message', value: { id: 'm', type: 't' } } }],
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
      expect(channel.end_).toEqual({ error: undefined, abort: false });
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

describe('long polls', () => {
  let polls: PollSessions;
  beforeEach(() => {
    polls = new PollSessions({
      protocol: protocolOptions(),
      clock: fleet.clock,
      wheel: fleet.wheel,
      leaseMs: () => fleet.pacing().leaseMs,
    });
  });

  const poll = (
    request: MessageInitShape<typeof PollSessionRequestSchema>,
    how: { token?: string; signal?: AbortSignal } = {},
  ): Promise<PollSessionResponse> =>
    polls.poll(
      create(PollSessionRequestSchema, request),
      { token: how.token ?? token, peer: '192.0.2.8:8' },
      how.signal ?? new AbortController().signal,
    );
  const NOW = durationFromMs(0);
  const cases = (response: PollSessionResponse) => response.frames.map(({ frame }) => frame.case);

  it('begin with hello, which is answered by welcome however short the wait, and carry pings', async () => {
    const first = await poll({ frames: [hello], wait: NOW });
    expect(cases(first)).toEqual(['welcome']);
    expect(first.epoch).toBe(fleet.sessions.get('default', 'a1')?.epoch);
    expect(msFromDuration(first.pollWithin ?? NOW)).toBe(15_000);
    const waiting = poll({ epoch: first.epoch, sequence: 1n });
    await fleet.pass(300);
    const second = await waiting;
    expect(cases(second)).toEqual(['ping']);
    const echo = second.frames[0]?.frame.case === 'ping' ? second.frames[0].frame.value.echo : 0n;
    await fleet.pass(40);
    await poll({
      epoch: first.epoch,
      sequence: 2n,
      wait: NOW,
      frames: [{ frame: { case: 'heartbeat', value: { echo } } }],
    });
    expect(fleet.sessions.get('default', 'a1')?.roundTrips.count).toBe(1);
  });

  it('give the last response again for a repeated sequence, and act on its frames once', async () => {
    const { epoch } = await poll({ frames: [hello], wait: NOW });
    const request = { epoch, sequence: 5n, wait: NOW, frames: [beat('f1')] };
    const first = await poll(request);
    const again = await poll(request);
    expect(results(first.frames)).toEqual([['f1', '']]);
    expect(again).toEqual(first);
    expect(fleet.sessions.get('default', 'a1')?.heartbeats).toBe(1);
    expect((await poll({ epoch, sequence: 6n, wait: NOW })).frames).toEqual([]);
  });

  it('lose no frame when the caller gave up waiting', async () => {
    const { epoch } = await poll({ frames: [hello], wait: NOW });
    const caller = new AbortController();
    const waiting = poll({ epoch, sequence: 1n, frames: [beat('f1')] }, { signal: caller.signal });
    const late = poll({ epoch, sequence: 2n }, { signal: caller.signal });
    caller.abort();
    const got = [
      ...(await waiting).frames,
      ...(await late).frames,
      ...(await poll({ epoch, sequence: 3n, wait: NOW })).frames,
    ];
    expect(results(got)).toEqual([['f1', '']]);
  });

  it('that come while another is open take over from it', async () => {
    const { epoch } = await poll({ frames: [hello], wait: NOW });
    const older = poll({ epoch, sequence: 1n });
    const newer = poll({ epoch, sequence: 2n });
    expect(cases(await older)).toEqual([]);
    await fleet.pass(300);
    expect(cases(await newer)).toEqual(['ping']);
  });

  it('that stop coming leave the agent DISCONNECTED after the time it was told', async () => {
    const { epoch } = await poll({ frames: [hello], wait: NOW });
    await fleet.pass(14_900);
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(CONNECTED);
    await fleet.pass(300);
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(DISCONNECTED);
    expect(await rejection(poll({ epoch, sequence: 1n }))).toMatchObject({ reason: ErrorReason.EPOCH_STALE });
  });

  it('whose caller went away amid hello leave no session that nobody polls', async () => {
    const caller = new AbortController();
    const answered = new Promise<void>((resolve) => {
      fleet.store.faults.answer = async () => {
        fleet.store.faults.answer = undefined;
        caller.abort();
        await turns(3);
        resolve();
      };
    });
    await poll({ frames: [hello] }, { signal: caller.signal });
    await answered;
    await fleet.settle();
    expect([fleet.sessions.size, fleet.liveness('a1')]).toEqual([0, DISCONNECTED]);
  });

  it('are refused with no token, another token, an epoch that never was, and one that was superseded', async () => {
    const other = await fleet.register('a2');
    const first = await poll({ frames: [hello], wait: NOW });
    expect(
      await rejection(
        polls.poll(
          create(PollSessionRequestSchema),
          { token: undefined, peer: '' },
          new AbortController().signal,
        ),
      ),
    ).toMatchObject({ reason: ErrorReason.TOKEN_INVALID });
    expect(await rejection(poll({ epoch: first.epoch }, { token: other }))).toMatchObject({
      reason: ErrorReason.EPOCH_STALE,
    });
    const forged = `${token.slice(0, -4)}AAAA`;
    expect(await rejection(poll({ epoch: first.epoch }, { token: forged }))).toMatchObject({
      reason: ErrorReason.TOKEN_INVALID,
    });
    expect(await rejection(poll({ epoch: first.epoch + 9n }))).toMatchObject({
      reason: ErrorReason.EPOCH_STALE,
    });
    const second = await poll({ frames: [hello], wait: NOW });
    expect(second.epoch).toBeGreaterThan(first.epoch);
    const last = await poll({ epoch: first.epoch, sequence: 9n });
    expect(last.frames[0]?.frame).toMatchObject({
      case: 'goAway',
      value: { reason: GoAway_Reason.SUPERSEDED },
    });
    await poll({ epoch: first.epoch, sequence: 10n, wait: NOW }).catch(() => {});
    expect(await rejection(poll({ epoch: first.epoch, sequence: 11n }))).toMatchObject({
      reason: ErrorReason.EPOCH_STALE,
    });
    expect(fleet.sessions.get('default', 'a1')?.epoch).toBe(second.epoch);
  });

  it.each<[string, Up[], ErrorReason]>([
    ['a first frame that is not hello', [beat()], ErrorReason.PROTOCOL_VIOLATION],
    [
      'invalid fields',
      [hello, { frame: { case: 'heartbeat', value: { held: durationFromMs(-1) } } }],
      ErrorReason.INVALID_FIELDS,
    ],
  ])('are refused with %s', async (_, frames, reason) => {
    expect(await rejection(poll({ frames }))).toMatchObject({ reason });
    await fleet.settle();
    expect(fleet.sessions.size).toBe(0);
  });

  it('end with leave, whose result comes once it is stored', async () => {
    const { epoch } = await poll({ frames: [hello], wait: NOW });
    const last = await poll({ epoch, sequence: 1n, frames: [{ ...leave, frameId: 'bye' }] });
    expect(results(last.frames)).toEqual([['bye', '']]);
    expect(fleet.liveness('a1')).toBe(LEFT);
    await fleet.pass(60_000);
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(LEFT);
    expect(fleet.wheel.size).toBe(0);
  });
});
