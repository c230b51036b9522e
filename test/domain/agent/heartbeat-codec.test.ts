import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type OpenSessionRequest,
  OpenSessionRequestSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  encodeFrame,
  encodePlainPing,
  encodeStored,
  pingFrame,
  resultFrame,
} from '../../../src/domain/agent/frames.ts';
import { decodePlainHeartbeat } from '../../../src/domain/agent/heartbeat-codec.ts';
import { validateFrame } from '../../../src/domain/validation/frames.ts';
import { msFromDuration, msFromTimestamp } from '../../../src/lib/proto-time.ts';

interface Plain {
  echo: number;
  heldMs: number;
  agentWallMs: number | undefined;
}

/** What the general decoder and the rules of fields make of bytes, if it is an answer and nothing else. */
function generally(bytes: Uint8Array): Plain | undefined {
  let frame: OpenSessionRequest;
  try {
    frame = fromBinary(OpenSessionRequestSchema, bytes);
  } catch {
    return undefined;
  }
  if (frame.frame.case !== 'heartbeat' || frame.frameId !== '' || frame.$unknown !== undefined)
    return undefined;
  const { echo, held, agentTime, report, $unknown } = frame.frame.value;
  if (report !== undefined || $unknown !== undefined || validateFrame(frame).length > 0) return undefined;
  if (held?.$unknown !== undefined || agentTime?.$unknown !== undefined) return undefined;
  return {
    echo: Number(echo),
    heldMs: held === undefined ? 0 : msFromDuration(held),
    agentWallMs: agentTime === undefined ? undefined : msFromTimestamp(agentTime),
  };
}

/** The same bytes at the end of a larger buffer of 0xff: what reads past the end gives itself away. */
function within(bytes: Uint8Array): Uint8Array {
  const padded = new Uint8Array(bytes.length + 64).fill(0xff);
  padded.set(bytes, 0);
  return padded.subarray(0, bytes.length);
}

/** Counts reads out of bounds. */
function watched(bytes: Uint8Array): { bytes: Uint8Array; stray: () => number } {
  let stray = 0;
  const proxy = new Proxy(bytes, {
    get: (target, name) => {
      if (
        typeof name === 'string' &&
        /^-?\d+$/.test(name) &&
        !(Number(name) >= 0 && Number(name) < target.length)
      )
        stray += 1;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { bytes: proxy, stray: () => stray };
}

const decode = (bytes: Uint8Array): Plain | undefined => {
  const plain = decodePlainHeartbeat(within(bytes));
  return plain === undefined ? undefined : { ...plain };
};

const nanos = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 999_999_999 }));
const echo = fc.oneof(fc.bigInt({ min: 0n, max: 300n }), fc.bigInt({ min: 0n, max: 2n ** 53n - 1n }));
const plain = fc.record({
  echo,
  held: fc.option(fc.record({ seconds: fc.bigInt({ min: 0n, max: 86_399n }), nanos }), { nil: undefined }),
  agentTime: fc.option(fc.record({ seconds: fc.bigInt({ min: 0n, max: 9_999_999_999n }), nanos }), {
    nil: undefined,
  }),
});

const encode = (value: {
  echo: bigint;
  held: object | undefined;
  agentTime: object | undefined;
}): Uint8Array =>
  toBinary(
    OpenSessionRequestSchema,
    create(OpenSessionRequestSchema, {
      frame: {
        case: 'heartbeat',
        value: {
          echo: value.echo,
          ...(value.held === undefined ? {} : { held: value.held }),
          ...(value.agentTime === undefined ? {} : { agentTime: value.agentTime }),
        },
      },
    }),
  );

const HELD = 2;
const heartbeatOf = (fill: (writer: BinaryWriter) => void): Uint8Array => {
  const inner = new BinaryWriter();
  fill(inner);
  return new BinaryWriter().tag(3, WireType.LengthDelimited).bytes(inner.finish()).finish();
};
const duration = (seconds: bigint, nano: number): Uint8Array =>
  new BinaryWriter().tag(1, WireType.Varint).int64(seconds).tag(2, WireType.Varint).int32(nano).finish();

describe('the plain heartbeat decoder', () => {
  it('gives for every plain heartbeat what the general decoder gives', () => {
    fc.assert(
      fc.property(plain, (value) => {
        const bytes = encode(value);
        const expected = generally(bytes);
        expect(expected).toBeDefined();
        expect(decode(bytes)).toEqual(expected);
      }),
      { numRuns: 3_000 },
    );
  });

  it('never differs from the general decoder on damaged, truncated or random bytes', () => {
    const damaged = fc
      .tuple(plain, fc.nat(63), fc.nat(255), fc.constantFrom('set', 'cut', 'insert', 'double'))
      .map(([value, at, byte, how]) => {
        const bytes = [...encode(value)];
        const place = at % (bytes.length + 1);
        if (how === 'set') bytes[place] = byte;
        else if (how === 'cut') bytes.length = place;
        else if (how === 'insert') bytes.splice(place, 0, byte);
        else bytes.push(...bytes.slice(2));
        // Half of them with a length that fits again.
        if (byte % 2 === 0 && bytes.length > 2) bytes[1] = bytes.length - 2;
        return Uint8Array.from(bytes);
      });
    const random = fc
      .uint8Array({ maxLength: 70 })
      .map((tail) => Uint8Array.from([0x1a, tail.length, ...tail]));
    // Tags and small lengths are likelier than chance would have it.
    const likely = fc
      .array(fc.constantFrom(0x08, 0x09, 0x10, 0x12, 0x1a, 0x22, 0x00, 0x01, 0x02, 0x04, 0x80, 0xff), {
        maxLength: 40,
      })
      .map((tail) => Uint8Array.from([0x1a, tail.length, ...tail]));
    fc.assert(
      fc.property(fc.oneof(damaged, random, likely), (bytes) => {
        const got = decode(bytes);
        if (got !== undefined) expect(got).toEqual(generally(bytes));
        const { bytes: guarded, stray } = watched(bytes);
        decodePlainHeartbeat(guarded);
        expect(stray(), 'reads out of bounds').toBe(0);
      }),
      { numRuns: 20_000 },
    );
  });

  it.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array()],
    [
      'a frame id',
      toBinary(
        OpenSessionRequestSchema,
        create(OpenSessionRequestSchema, { frameId: 'f', frame: { case: 'heartbeat', value: { echo: 1n } } }),
      ),
    ],
    [
      'a report',
      toBinary(
        OpenSessionRequestSchema,
        create(OpenSessionRequestSchema, { frame: { case: 'heartbeat', value: { echo: 1n, report: {} } } }),
      ),
    ],
    [
      'another frame',
      toBinary(
        OpenSessionRequestSchema,
        create(OpenSessionRequestSchema, { frame: { case: 'leave', value: {} } }),
      ),
    ],
    [
      'two heartbeats',
      Uint8Array.from([
        ...encode({ echo: 1n, held: undefined, agentTime: undefined }),
        ...encode({ echo: 2n, held: undefined, agentTime: undefined }),
      ]),
    ],
    [
      'the echo twice',
      heartbeatOf((w) => w.tag(1, WireType.Bit64).fixed64(1n).tag(1, WireType.Bit64).fixed64(2n)),
    ],
    [
      'held twice, which would be merged',
      heartbeatOf((w) =>
        w
          .tag(HELD, WireType.LengthDelimited)
          .bytes(duration(1n, 5))
          .tag(HELD, WireType.LengthDelimited)
          .bytes(duration(2n, 0)),
      ),
    ],
    [
      'fields out of order',
      heartbeatOf((w) =>
        w.tag(HELD, WireType.LengthDelimited).bytes(duration(1n, 5)).tag(1, WireType.Bit64).fixed64(2n),
      ),
    ],
    [
      'an unknown field',
      heartbeatOf((w) => w.tag(1, WireType.Bit64).fixed64(1n).tag(9, WireType.Varint).uint32(1)),
    ],
    ['an echo beyond 2^53', encode({ echo: 2n ** 53n, held: undefined, agentTime: undefined })],
    ['a negative delay', heartbeatOf((w) => w.tag(HELD, WireType.LengthDelimited).bytes(duration(-1n, 0)))],
    [
      'a delay of more than a day, which is refused',
      encode({ echo: 1n, held: { seconds: 86_401n, nanos: 0 }, agentTime: undefined }),
    ],
    [
      'nanos of a whole second',
      heartbeatOf((w) => w.tag(HELD, WireType.LengthDelimited).bytes(duration(1n, 1_000_000_000))),
    ],
    ['a time before 1970', encode({ echo: 1n, held: undefined, agentTime: { seconds: -5n, nanos: 0 } })],
    [
      'a varint that never ends',
      heartbeatOf((w) =>
        w
          .tag(HELD, WireType.LengthDelimited)
          .bytes(Uint8Array.from([0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
      ),
    ],
    ['a length beyond the end', Uint8Array.from([0x1a, 3, 0x12, 9, 0x08])],
    ['an echo that is cut off', Uint8Array.from([0x1a, 4, 0x09, 1, 2, 3])],
  ])('leaves %s to the general decoder', (_, bytes) => {
    expect(decode(bytes)).toBeUndefined();
  });
});

describe('the plain ping encoder', () => {
  it('writes what the general encoder writes, for every echo up to 2^53', () => {
    const edges = [1, 127, 128, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER];
    const any = fc.oneof(fc.constantFrom(...edges), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }));
    fc.assert(
      fc.property(any, (value) => {
        expect([...encodePlainPing(value)]).toEqual([...encodeFrame(pingFrame(value, false, undefined))]);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('the result of a frame that is stored', () => {
  it('has the bytes that the library gives it, however long the id is', () => {
    for (const length of [1, 2, 64, 124, 125, 126, 127, 128]) {
      const id = '~'.repeat(length);
      expect([...encodeStored(id)], `${length}`).toEqual([...encodeFrame(resultFrame(id, undefined))]);
    }
  });
});
