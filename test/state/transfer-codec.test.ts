import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TransferRecord } from '../../src/state/transfer.ts';
import { decodeRecord, encodeRecord, sizeOf } from '../../src/state/transfer-codec.ts';

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const name = fc.string({ unit: 'grapheme', maxLength: 100 });
const value = fc.uint8Array({ maxLength: 300 });
const time = fc.double({ noNaN: true, noDefaultInfinity: true });

const records: fc.Arbitrary<TransferRecord> = fc.oneof(
  fc.record({ kind: fc.constant('namespace' as const), namespace: name, revision: u64, timeMs: time }),
  fc.record({ kind: fc.constant('entry' as const), namespace: name, key: name, revision: u64, value }),
  fc.record({
    ...{ kind: fc.constant('series' as const), namespace: name, series: name, revision: u64, value },
    ...{ index: fc.nat(2 ** 31 - 1), timeMs: time },
  }),
  fc.record({
    ...{ kind: fc.constant('request' as const), namespace: name, id: name, revision: u64 },
    ...{ expiresMs: time, fingerprint: value, response: value },
  }),
  fc.record({
    ...{ kind: fc.constant('live' as const), namespace: name, key: name, epoch: u64 },
    ...{ sequence: fc.maxSafeNat(), value },
  }),
);

describe('the bytes of a record', () => {
  it('become the same record again', () => {
    fc.assert(
      fc.property(records, (record) => {
        const bytes = encodeRecord(record);
        expect(bytes.length).toBeLessThanOrEqual(sizeOf(record));
        expect(decodeRecord(bytes)).toEqual(record);
      }),
    );
  });

  it('are refused when cut anywhere, when longer, and when of an unknown kind', () => {
    fc.assert(
      fc.property(records, fc.nat(), (record, at) => {
        const bytes = encodeRecord(record);
        expect(() => decodeRecord(bytes.subarray(0, at % bytes.length))).toThrow();
        expect(() => decodeRecord(Buffer.concat([bytes, Buffer.from([0])]))).toThrow(/longer/);
        expect(() => decodeRecord(Buffer.concat([Buffer.from([9]), bytes.subarray(1)]))).toThrow(
          /unknown kind/,
        );
      }),
    );
  });
});
