import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodePageToken, encodePageToken, fingerprint } from '../../src/lib/page-token.ts';

const agents = { kind: 'agents', fingerprint: fingerprint(['default']) };

describe('a page token', () => {
  test('comes back as it was made, within the length that requests may carry', () => {
    const key = fc.string({ unit: 'grapheme', maxLength: 100 }).filter((text) => !text.includes('\0'));
    fc.assert(
      fc.property(key, (after) => {
        const text = encodePageToken({ ...agents, after });
        expect(text).toMatch(/^[A-Za-z0-9_-]+$/);
        expect(decodePageToken(text, agents)).toEqual({ kind: 'token', after });
      }),
    );
    const longest = encodePageToken({ ...agents, after: 'k'.repeat(512) });
    expect(longest.length).toBeLessThanOrEqual(1536);
    expect(decodePageToken(longest, agents).kind).toBe('token');
  });

  test('of another listing or filter is refused', () => {
    const text = encodePageToken({ ...agents, after: 'a' });
    expect(decodePageToken(text, { ...agents, kind: 'events' })).toMatchObject({ kind: 'invalid' });
    const other = decodePageToken(text, { ...agents, fingerprint: fingerprint(['prod']) });
    expect(other).toMatchObject({ kind: 'invalid', description: expect.stringContaining('filter') });
  });

  test('that was changed in one character is refused', () => {
    const text = encodePageToken({ ...agents, after: 'agent-0042' });
    fc.assert(
      fc.property(
        fc.nat(text.length - 1),
        fc.constantFrom(...'ABCxyz019-_=+/ é\n'),
        (position, character) => {
          fc.pre(text[position] !== character);
          const changed = text.slice(0, position) + character + text.slice(position + 1);
          expect(decodePageToken(changed, agents).kind).toBe('invalid');
        },
      ),
    );
  });

  test('of any other text is refused without an exception', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.base64String()), (text) => {
        expect(decodePageToken(text, agents).kind).toBe('invalid');
      }),
    );
    expect(decodePageToken('A'.repeat(1_000_000), agents).kind).toBe('invalid');
  });
});

test('fingerprints differ where parts do, also where their texts run together', () => {
  expect(fingerprint(['a', 'b'])).toBe(fingerprint(['a', 'b']));
  expect(fingerprint(['a', 'b'])).not.toBe(fingerprint(['ab', '']));
  expect(fingerprint([['a'], ['b']])).not.toBe(fingerprint([['a', 'b'], []]));
  expect(fingerprint([1])).not.toBe(fingerprint(['1']));
});
