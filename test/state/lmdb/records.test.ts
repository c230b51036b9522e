import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  entryRange,
  liveKey,
  namesOfLiveKey,
  placeOfSeriesKey,
  seriesKey,
} from '../../../src/state/lmdb/keys.ts';
import {
  RecordWriter,
  readBatch,
  readRequest,
  writeBatch,
  writeRequest,
} from '../../../src/state/lmdb/records.ts';
import type { Append, Change } from '../../../src/state/store.ts';

const name = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 40 })
  .filter((text) => !/\p{Surrogate}/u.test(text));
const value = fc.uint8Array({ maxLength: 300 });
const change: fc.Arbitrary<Change> = fc.oneof(fc.record({ key: name, value }), fc.record({ key: name }));
const append: fc.Arbitrary<Append> = fc.record({ series: name, value });

it('reads a log batch back as it was written, whatever is in it, and counts its bytes', () => {
  const writer = new RecordWriter();
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 8 }),
      fc.array(append, { maxLength: 8 }),
      fc.nat(),
      (changes, appends, before) => {
        const { record, totalBytes } = writeBatch(
          writer,
          { timeMs: 1_700_000_000_123.5, changes, appends },
          before,
        );
        expect(totalBytes).toBe(before + record.length);
        const batch = readBatch(Buffer.from(record), 'n', 7n, 9n);
        expect(batch).toEqual({
          namespace: 'n',
          epoch: 7n,
          revision: 9n,
          timeMs: 1_700_000_000_123.5,
          changes,
          appends: appends.map((entry, index) => ({ ...entry, index })),
        });
      },
    ),
  );
});

it('grows for large values and is reused without mixing records up', () => {
  const writer = new RecordWriter();
  const large = new Uint8Array(300_000).fill(7);
  const { record } = writeBatch(writer, { timeMs: 1, changes: [{ key: 'k', value: large }], appends: [] }, 0);
  const kept = Buffer.from(record);
  writeBatch(writer, { timeMs: 2, changes: [{ key: 'l', value: large.fill(8) }], appends: [] }, 0);
  expect(readBatch(kept, 'n', 1n, 1n).changes[0]?.value?.every((byte) => byte === 7)).toBe(true);
});

it('says so when a stored batch is cut short', () => {
  const { record } = writeBatch(
    new RecordWriter(),
    { timeMs: 1, changes: [{ key: 'k', value: new Uint8Array(100) }], appends: [] },
    0,
  );
  expect(() => readBatch(Buffer.from(record.subarray(0, record.length - 1)), 'n', 1n, 1n)).toThrow(
    'cut short',
  );
});

it('reads a request record back', () => {
  fc.assert(
    fc.property(
      value,
      value,
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      (fingerprint, response, revision) => {
        const request = { expiresMs: 12_345.25, revision, fingerprint, response };
        expect(readRequest(Buffer.from(writeRequest(new RecordWriter(), request)))).toEqual(request);
      },
    ),
  );
});

it('keeps the names in live keys and the places in series keys apart', () => {
  fc.assert(
    fc.property(
      name,
      name,
      fc.bigInt({ min: 0n, max: 2n ** 63n }),
      fc.nat(),
      (namespace, key, revision, index) => {
        expect(namesOfLiveKey(liveKey(namespace, key))).toEqual({ namespace, key });
        expect(placeOfSeriesKey(seriesKey(3, key, revision, index))).toEqual({ revision, index });
      },
    ),
  );
});

it('ends a prefix range right after the last key with the prefix, also where bytes are 0xff', () => {
  const { start, end } = entryRange(0xffff_ffff, '', undefined);
  expect(start).toEqual(Buffer.from([0x10, 0xff, 0xff, 0xff, 0xff]));
  expect(end).toEqual(Buffer.from([0x11]));
});
