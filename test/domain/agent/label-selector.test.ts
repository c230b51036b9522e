import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  formatLabelSelector,
  LabelSelectorError,
  matches,
  parseLabelSelector,
  type Requirement,
} from '../../../src/domain/agent/label-selector.ts';

const labels = { tier: 'web', env: 'prod', 'example.com/zone': 'a', flag: '' };

describe('what a selector matches', () => {
  test.each<[string, boolean]>([
    ['', true],
    ['   ', true],
    ['tier=web', true],
    ['tier==web', true],
    [' tier = web ', true],
    ['tier=db', false],
    ['missing=web', false],
    ['tier!=web', false],
    ['tier!=db', true],
    ['missing!=web', true],
    ['env in (prod)', true],
    ['env in (test, prod)', true],
    ['env in(test,stage)', false],
    ['missing in (a)', false],
    ['env notin (prod,test)', false],
    ['env notin (test)', true],
    ['missing notin (a)', true],
    ['tier', true],
    ['missing', false],
    ['!tier', false],
    ['!missing', true],
    ['! missing', true],
    ['tier=web,env in (prod,test),!legacy', true],
    ['tier=web,env in (prod,test),!tier', false],
    ['example.com/zone=a', true],
    ['example.com/zone notin (a)', false],
    ['flag=', true],
    ['flag=,tier', true],
    ['tier=', false],
    ['flag in (,x)', true],
    ['flag in (x,)', true],
    ['flag notin (,)', false],
    ['flag', true],
    // Words of the syntax are keys and values where those are expected.
    ['in', false],
    ['notin notin (in)', true],
    ['in in (in)', false],
    ['tier=in', false],
    ['!in', true],
    // Inherited properties of the labels object are no labels.
    ['constructor', false],
    ['!toString', true],
    ['hasOwnProperty!=x', true],
    ['constructor=x', false],
  ])('%j: %s', (text, expected) => {
    expect(matches(parseLabelSelector(text), labels)).toBe(expected);
  });
});

describe('what is not a selector', () => {
  test.each<[string, number, string]>([
    [',', 0, 'expected a label key or "!"'],
    ['a,', 2, 'found the end, expected a label key or "!"'],
    [',a', 0, 'found ","'],
    ['a,,b', 2, 'found ","'],
    ['a b', 2, 'expected "=", "==", "!=", "in", "notin", "," or the end'],
    ['a=b c', 4, 'found "c", expected "," or the end'],
    ['a=b=c', 3, 'found "="'],
    ['a==b==c', 4, 'found "=="'],
    ['!a=b', 2, 'found "=", expected "," or the end'],
    ['!', 1, 'found the end, expected a label key'],
    ['!!a', 1, 'found "!", expected a label key'],
    ['=a', 0, 'found "="'],
    ['a=!b', 2, 'found "!", expected a value'],
    ['a in', 4, 'found the end, expected "("'],
    ['a in b', 5, 'found "b", expected "("'],
    ['a in ()', 6, 'found ")", expected a value'],
    ['a in (b', 7, 'found the end, expected "," or ")"'],
    ['a in (b c)', 8, 'found "c", expected "," or ")"'],
    ['a in (b))', 8, 'found ")", expected "," or the end'],
    ['a not in (b)', 2, 'found "not"'],
    ['(a)', 0, 'found "("'],
    ['x>1', 0, 'the key "x>1" must'],
    ['a=b|c', 2, 'the value "b|c" must'],
    ['-a=b', 0, 'the key "-a"'],
    ['a=-b', 2, 'the value "-b"'],
    ['Example.com/a', 0, 'prefix'],
    ['a/b/c', 0, 'name'],
    ['/a', 0, 'prefix'],
    ['a/', 0, 'name'],
    [`a=${'v'.repeat(64)}`, 2, 'longer than 63'],
    [`${'k'.repeat(64)}`, 0, 'more than 63'],
    [`${'p'.repeat(254)}/k`, 0, 'more than 253'],
    ['a=\u0000', 2, '"\\u0000"'],
    ['a=ä', 2, '"ä"'],
    ['x'.repeat(1025), 1024, 'at most 1024'],
  ])('%j fails at %d: %s', (text, position, problem) => {
    let failure: unknown;
    try {
      parseLabelSelector(text);
    } catch (error) {
      failure = error;
    }
    expect(failure).toBeInstanceOf(LabelSelectorError);
    const { message, position: at } = failure as LabelSelectorError;
    expect(message).toContain(problem);
    expect(message).toContain(`at position ${position + 1}: `);
    expect(at).toBe(position);
  });

  test('fails with a short LabelSelectorError and nothing else, whatever comes', () => {
    const symbols = fc.constantFrom(
      'a',
      'b.c/d',
      '=',
      '==',
      '!=',
      '!',
      ',',
      '(',
      ')',
      'in',
      'notin',
      ' ',
      '\t',
      '-',
    );
    const texts = fc.oneof(
      fc.array(symbols, { maxLength: 30 }).map((parts) => parts.join('')),
      fc.string({ unit: 'binary', maxLength: 1100 }),
    );
    fc.assert(
      fc.property(texts, (text) => {
        try {
          parseLabelSelector(text);
        } catch (error) {
          expect(error).toBeInstanceOf(LabelSelectorError);
          expect((error as Error).message.length).toBeLessThan(1024);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('takes linear time at the longest length', () => {
    const worst = ['!'.repeat(1024), 'a,'.repeat(512), `${'a.'.repeat(511)}!`, `a in (${'b,'.repeat(508)}`];
    const started = performance.now();
    for (let round = 0; round < 20; round++) {
      for (const text of worst) expect(() => parseLabelSelector(text)).toThrow(LabelSelectorError);
    }
    expect(performance.now() - started).toBeLessThan(2000);
  });
});

const key = fc.constantFrom('tier', 'env', 'example.com/zone', 'in', 'notin', 'constructor');
const value = fc.constantFrom('', 'a', 'b', 'in', 'x-1_2.3');
const requirement: fc.Arbitrary<Requirement> = fc.oneof(
  fc.record({
    operator: fc.constantFrom('in' as const, 'not_in' as const),
    key,
    values: fc.uniqueArray(value, { minLength: 1, maxLength: 4 }).map((list) => new Set(list)),
  }),
  fc.record({ operator: fc.constantFrom('exists' as const, 'not_exists' as const), key }),
);
const requirements = fc.uniqueArray(requirement, {
  maxLength: 5,
  selector: (one) => formatLabelSelector({ requirements: [one] }),
});
const someLabels = fc.dictionary(key, value, { maxKeys: 5, noNullPrototype: true });

/** The definition, as plainly as it can be said. */
function holds(one: Requirement, of: Record<string, string>): boolean {
  const own = new Map(Object.entries(of));
  if (!('values' in one)) return own.has(one.key) === (one.operator === 'exists');
  const listed = own.has(one.key) && one.values.has(own.get(one.key) ?? '?');
  return one.operator === 'in' ? listed : !listed;
}

describe('properties', () => {
  test('what is printed parses to the same selector', () => {
    fc.assert(
      fc.property(requirements, (list) => {
        const text = formatLabelSelector({ requirements: list });
        const parsed = parseLabelSelector(text);
        expect(formatLabelSelector(parsed)).toBe(text);
        expect(new Set(parsed.requirements)).toEqual(new Set(list));
      }),
    );
  });

  test('matching agrees with the definition, before and after printing', () => {
    fc.assert(
      fc.property(requirements, someLabels, (list, of) => {
        const expected = list.every((one) => holds(one, of));
        expect(matches({ requirements: list }, of)).toBe(expected);
        expect(matches(parseLabelSelector(formatLabelSelector({ requirements: list })), of)).toBe(expected);
      }),
    );
  });
});
