import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { quote, Violations } from '../../src/lib/violations.ts';

describe('paths', () => {
  test('name fields, list entries and map keys as they stand in the protos', () => {
    const violations = new Violations();
    violations.add('whole');
    violations.enter('spec');
    violations.enter('capabilities');
    violations.enter(3);
    violations.addAt('name', 'bad');
    violations.leave();
    violations.leave();
    violations.enter('labels');
    violations.enterKey('a b');
    violations.add('bad');
    violations.leave();
    violations.enterKey('quote " and\nline');
    violations.add('bad');
    expect(violations.list().map(({ field }) => field)).toEqual([
      '',
      'spec.capabilities[3].name',
      'spec.labels["a b"]',
      'spec.labels["quote \\" and\\u000aline"]',
    ]);
  });

  test('a map key that looks like a field after an index is still a key', () => {
    const violations = new Violations();
    violations.enter(0);
    violations.enterKey('name');
    violations.add('bad');
    violations.leave();
    violations.enter('name');
    violations.add('bad');
    expect(violations.list().map(({ field }) => field)).toEqual(['[0]["name"]', '[0].name']);
  });
});

describe('the list', () => {
  test('is complete up to the limit', () => {
    const violations = new Violations({ limit: 3 });
    for (let i = 0; i < 3; i++) violations.addAt(`f${i}`, 'bad');
    expect(violations.list()).toHaveLength(3);
  });

  test('counts what is beyond the limit in a last entry', () => {
    const violations = new Violations({ limit: 3 });
    for (let i = 0; i < 10; i++) violations.addAt(`f${i}`, 'bad');
    expect(violations.count).toBe(10);
    expect(violations.list()).toHaveLength(4);
    expect(violations.list()[3]).toEqual({ field: '…', description: 'and 7 more' });
  });

  test('is empty again after it was taken, wherever the path stood', () => {
    const violations = new Violations({ limit: 1 });
    violations.enter('spec');
    violations.add('bad');
    violations.add('worse');
    const taken = violations.take();
    violations.addAt('kind', 'bad');
    expect(taken).toHaveLength(2);
    expect(violations.take()).toEqual([{ field: 'kind', description: 'bad' }]);
  });
});

describe('quote', () => {
  test.each([
    ['plain', '"plain"'],
    ['ünïcödé 漢字', '"ünïcödé 漢字"'],
    ['say "hi" \\', '"say \\"hi\\" \\\\"'],
    ['a\nb\0c\u001b[31m', '"a\\u000ab\\u0000c\\u001b[31m"'],
    ['\u202egpj.exe', '"\\u202egpj.exe"'],
    ['\ud800', '"\\ud800"'],
    ['\u{e0001}', '"\\u{e0001}"'],
    ['x'.repeat(64), `"${'x'.repeat(64)}"`],
    ['x'.repeat(65), `"${'x'.repeat(63)}…"`],
    ['😀'.repeat(65), `"${'😀'.repeat(63)}…"`],
  ])('%j becomes %s', (text, quoted) => {
    expect(quote(text)).toBe(quoted);
  });

  test('is short, safe in one log line, and encodable whatever comes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), fc.string(), (a, b) => {
        const quoted = quote(`${a}\ud800${b}`);
        expect(quoted).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Surrogate}]/u);
        expect(quoted.length).toBeLessThanOrEqual(64 * 10 + 2);
      }),
    );
  });
});
