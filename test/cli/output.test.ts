import { describe, expect, it } from 'vitest';
import { styleOf } from '../../src/cli/io.ts';
import { escapeJson, escapeText } from '../../src/cli/output/escape.ts';
import { sparkline } from '../../src/cli/output/sparkline.ts';
import { renderTable } from '../../src/cli/output/table.ts';
import { displayWidth, renderLine } from '../../src/cli/output/text.ts';
import { formatMs } from '../../src/cli/output/time.ts';
import { parseDuration, parseMoment } from '../../src/cli/parse.ts';

const plainStyle = { colour: false, columns: undefined };

describe('text that others wrote', () => {
  it.each([
    ['an escape sequence', '\u001b[31mred', '\\x1b[31mred'],
    ['an 8-bit control', '\u009b31m', '\\x9b31m'],
    ['a line break', 'a\r\nb', 'a\\r\\nb'],
    ['a bidirectional override', 'a\u202eb', 'a\\u{202e}b'],
    ['a zero-width space', 'a\u200bb', 'a\\u{200b}b'],
    ['a tag character', 'a\u{e0041}b', 'a\\u{e0041}b'],
    ['half a surrogate pair', 'a\ud800b', 'a\\u{d800}b'],
    ['ordinary words of any script', 'naïve 日本語 😀 Ελ', 'naïve 日本語 😀 Ελ'],
  ])('is shown with %s made visible', (_what, text, shown) => {
    expect(escapeText(text)).toBe(shown);
    expect(escapeText(shown)).toBe(shown);
  });

  it('keeps its value in JSON while the terminal sees no control', () => {
    const value = { text: 'a\u009b\u202e\u{e0041}\u007f\n"' };
    const json = escapeJson(JSON.stringify(value, undefined, 2));
    expect(JSON.parse(json)).toEqual(value);
    expect(json).toContain('\\u009b\\u202e\\udb40\\udc41\\u007f\\n');
  });
});

describe('widths', () => {
  it.each([
    ['abc', 3],
    ['日本', 4],
    ['é', 1],
    ['e\u0301', 1],
    ['😀', 2],
    ['–…█', 3],
  ])('of %s are %i columns', (text, width) => {
    expect(displayWidth(text)).toBe(width);
  });

  it('cuts a line to the terminal with an ellipsis, never through a wide character', () => {
    expect(renderLine([{ text: '日本語日本語' }], { colour: false, columns: 8 })).toBe('日本語…');
    expect(renderLine([{ text: 'abc' }, { text: 'defgh' }], { colour: false, columns: 6 })).toBe('abcde…');
    expect(renderLine([{ text: 'abcdef' }, { text: 'gh' }], { colour: false, columns: 6 })).toBe('abcde…');
    expect(renderLine([{ text: 'abcdef' }], { colour: false, columns: 6 })).toBe('abcdef');
  });

  it('shrinks the widest column first and drops the least important one where that is not enough', () => {
    const columns = [{ title: 'ID', shrinkTo: 4 }, { title: 'STATE' }, { title: 'NOTE', dropOrder: 1 }];
    const rows = [[{ text: 'abcdefghij' }, { text: 'LOST' }, { text: 'twelve chars' }]];
    expect(renderTable(columns, rows, { colour: false, columns: 40 })).toEqual([
      'ID          STATE  NOTE',
      'abcdefghij  LOST   twelve chars',
    ]);
    expect(renderTable(columns, rows, { colour: false, columns: 27 })).toEqual([
      'ID      STATE  NOTE',
      'abcde…  LOST   twelve chars',
    ]);
    expect(renderTable(columns, rows, { colour: false, columns: 20 })).toEqual([
      'ID          STATE',
      'abcdefghij  LOST',
    ]);
  });

  it('cuts nothing where there is no terminal', () => {
    const long = 'x'.repeat(500);
    expect(renderTable([{ title: 'ID', shrinkTo: 4 }], [[{ text: long }]], plainStyle)[1]).toBe(long);
  });
});

describe('colours', () => {
  const terminal = { isTTY: true, columns: 80 } as never;
  const pipe = {} as never;
  it.each([
    ['on a terminal', terminal, {}, 'auto', true],
    ['not in a pipe', pipe, {}, 'auto', false],
    ['not with NO_COLOR', terminal, { NO_COLOR: '1' }, 'auto', false],
    ['with an empty NO_COLOR, which says nothing', terminal, { NO_COLOR: '' }, 'auto', true],
    ['in a pipe with FORCE_COLOR', pipe, { FORCE_COLOR: '1' }, 'auto', true],
    ['not with FORCE_COLOR=0', terminal, { FORCE_COLOR: '0' }, 'auto', false],
    ['not on a dumb terminal', terminal, { TERM: 'dumb' }, 'auto', false],
    ['with --color always, whatever the environment says', pipe, { NO_COLOR: '1' }, 'always', true],
    ['not with --color never', terminal, { FORCE_COLOR: '1' }, 'never', false],
  ] as const)('appear %s', (_when, output, env, choice, expected) => {
    expect(styleOf(output, env, choice).colour).toBe(expected);
  });
});

describe('durations', () => {
  it.each([
    [0, '0s'],
    [0.42, '420µs'],
    [1.25, '1.3ms'],
    [9.96, '10ms'],
    [80, '80ms'],
    [999.6, '1.0s'],
    [4_100, '4.1s'],
    [9_960, '10s'],
    [59_600, '1m00s'],
    [252_000, '4m12s'],
    [3_600_000, '1h00m'],
    [86_400_000, '1d0h'],
    [-252_000, '-4m12s'],
    [Number.NaN, '?'],
  ])('of %d ms read %s', (ms, text) => {
    expect(formatMs(ms)).toBe(text);
  });

  it.each([
    ['500ms', 500],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    ['7d', 604_800_000],
  ])('are read from %s', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(['', '10', 's', '-5s', '1h forever', '1e3s', '4000d'])('are not read from "%s"', (text) => {
    expect(() => parseDuration(text)).toThrow();
  });
});

describe('points in time', () => {
  const now = Date.UTC(2026, 7, 3, 12);
  it('are read from RFC 3339 or counted back from now', () => {
    expect(parseMoment('2026-08-03T11:00:00Z', now)).toBe(now - 3_600_000);
    expect(parseMoment('10m', now)).toBe(now - 600_000);
    expect(() => parseMoment('yesterday', now)).toThrow();
  });
});

describe('sparklines', () => {
  it('scale to the largest and keep the newest', () => {
    expect(sparkline([0, 7, 3.5], 8)).toBe('▁█▅');
    expect(sparkline([1, 2, 3, 4], 2)).toBe('▆█');
    expect(sparkline([0, 0], 8)).toBe('▁▁');
    expect(sparkline([], 8)).toBe('');
    expect(sparkline([Number.NaN, 1], 8)).toBe('█');
  });
});
