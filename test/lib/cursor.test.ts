import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeCursor, encodeCursor } from '../../src/lib/cursor.ts';
import { encodePageToken } from '../../src/lib/page-token.ts';
import { seal } from '../../src/lib/sealed.ts';

const revision = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n });

describe('a cursor', () => {
  test('comes back as it was made, also at the ends of its range', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z0-9-]{1,63}$/), revision, revision, (namespace, epoch, at) => {
        const cursor = { namespace, epoch, revision: at };
        const text = encodeCursor(cursor);
        expect(text.length).toBeLessThanOrEqual(256);
        expect(decodeCursor(text, namespace)).toEqual({ kind: 'cursor', cursor });
      }),
      {
        examples: [
          ['default', 2n ** 63n - 1n, 2n ** 63n - 1n],
          ['a', 0n, 0n],
        ],
      },
    );
  });

  test('of another namespace is refused and says so', () => {
    const text = encodeCursor({ namespace: 'prod', epoch: 1n, revision: 7n });
    expect(decodeCursor(text, 'default')).toEqual({
      kind: 'invalid',
      description: 'is a cursor of another namespace',
    });
  });

  test('that was changed in one character is refused', () => {
    const text = encodeCursor({ namespace: 'default', epoch: 1_790_000_000n, revision: 123n });
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.constantFrom(...'AQgw09-_= '), (position, character) => {
        fc.pre(text[position] !== character);
        const changed = text.slice(0, position) + character + text.slice(position + 1);
        expect(decodeCursor(changed, 'default').kind).toBe('invalid');
      }),
    );
  });

  test.each([
    ['a page token', encodePageToken({ kind: 'agents', fingerprint: 'x', after: 'a'.repeat(30) })],
    ['a sealed body that is too short', seal(0x43, new Uint8Array(15))],
    [
      'a negative revision',
      seal(0x43, Buffer.concat([Buffer.alloc(8, 0), Buffer.alloc(8, 0xff), Buffer.from('default')])),
    ],
    ['a huge text', 'A'.repeat(1_000_000)],
    ['a lone surrogate', '\ud800'],
  ])('is not made of %s', (_, text) => {
    expect(decodeCursor(text, 'default').kind).toBe('invalid');
  });

  test('of any other text is refused without an exception', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.base64String()), (text) => {
        expect(decodeCursor(text, 'default').kind).toBe('invalid');
      }),
    );
  });
});
