import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { validateFrame } from '../../src/domain/validation/frames.ts';
import { cleanLine, LastLines } from '../../src/supervisor/last-lines.ts';
import { reportFrame } from './report-frame.ts';

const fed = (chunks: (string | Buffer)[], size = 20): string[] => {
  const lines = new LastLines({ size });
  for (const chunk of chunks) lines.feed('stdout', Buffer.from(chunk as never));
  return lines.lines();
};

describe('a line', () => {
  test.each([
    ['plain', 'plain'],
    ['\x1b[1;31mred\x1b[0m text', 'red text'],
    ['\x1b]0;a title\x07after', 'after'],
    ['\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\', 'link'],
    ['\x1b(Bcharset', 'charset'],
    ['\x9b31mc1', 'c1'],
    ['10%\r50%\r100%', '100%'],
    ['windows\r', 'windows'],
    ['a\tb', 'a\tb'],
    ['bell\x07nul\x00', 'bell\\x07nul\\x00'],
    ['line\u2028separator', 'line\\u{2028}separator'],
    ['lone \ud800 surrogate', 'lone \\u{d800} surrogate'],
    ['\x1b[unfinished', 'nfinished'],
    ['\x1b]never closed', ''],
    ['grüße 日本 🎉', 'grüße 日本 🎉'],
  ])('%j is kept as %j', (raw, kept) => expect(cleanLine(raw)).toBe(kept));

  test('has at most 512 characters, and says with an ellipsis that there were more', () => {
    expect(cleanLine('x'.repeat(512))).toBe('x'.repeat(512));
    expect(cleanLine('🎉'.repeat(600))).toBe(`${'🎉'.repeat(511)}…`);
  });
});

test('the last lines of both streams are kept in the order in which they ended', () => {
  const lines = new LastLines({ size: 3 });
  lines.feed('stdout', Buffer.from('one\ntwo'));
  lines.feed('stderr', Buffer.from('oops\n'));
  lines.feed('stdout', Buffer.from(' more\nthree\n'));
  expect(lines.lines()).toEqual(['oops', 'two more', 'three']);
});

test('what has no line end counts as a line, and a character may come in pieces', () => {
  const euro = Buffer.from('a€b');
  expect(fed([euro.subarray(0, 2), euro.subarray(2)])).toEqual(['a€b']);
  expect(fed([Buffer.from([0x66, 0xff, 0xfe, 0x0a])])).toEqual(['f\ufffd\ufffd']);
});

test('a line without end costs no more memory than one with', () => {
  const lines = new LastLines({ size: 20 });
  const chunk = Buffer.alloc(64 * 1024, 'x');
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 400; i++) lines.feed('stdout', chunk); // 25 MiB
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(8 * 1024 * 1024);
  expect(lines.lines()).toEqual([`${'x'.repeat(511)}…`]);
});

test('with no lines wanted none are kept', () => expect(fed(['secret\n', 'rest'], 0)).toEqual([]));

test('whatever a program writes, the service takes the report of it', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.uint8Array({ maxLength: 2_000 }),
          fc.string({ unit: 'binary', maxLength: 700 }),
          fc.constantFrom('\n', '\r', '\x1b[', '\x1b]', '\x9d', 'x'.repeat(5_000)),
        ),
        { maxLength: 25 },
      ),
      (chunks) => {
        const lines = fed(chunks.map((chunk) => Buffer.from(chunk as never)));
        expect(validateFrame(reportFrame(lines))).toEqual([]);
      },
    ),
    { numRuns: 60 },
  );
});
