import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { ConfigError } from '../../src/config/errors.ts';
import { envName } from '../../src/config/key.ts';
import { loadConfig } from '../../src/config/load.ts';
import { KEYS } from '../../src/config/schema.ts';
import { closest } from '../../src/config/suggest.ts';
import { MAX_FILE_BYTES, parseConfigText } from '../../src/config/yaml-file.ts';

const paths = KEYS.map(({ path }) => path);

describe('arbitrary input', () => {
  it('as text gives faults or values, never a crash', () => {
    const fragments = fc.array(
      fc.oneof(
        fc.constantFrom(
          'orchestrator:',
          '\n',
          '  ',
          '- ',
          '{',
          '}',
          '[',
          ']',
          ': ',
          '&a ',
          '*a',
          '"',
          '!!binary ',
          '<<',
        ),
        fc.constantFrom(...paths),
        fc.string({ unit: 'binary', maxLength: 8 }),
      ),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(fragments, (parts) => {
        const { values, faults } = parseConfigText(parts.join(''), 'f');
        expect(values.length + faults.length).toBeLessThan(1_000);
        for (const fault of faults) expect(fault.message).not.toContain('\n');
      }),
      { numRuns: 2_000 },
    );
  });

  it('as a well-formed tree of any values gives faults or values', () => {
    fc.assert(
      fc.property(
        fc.object({ key: fc.constantFrom(...paths.flatMap((path) => path.split('.')), 'x'), maxDepth: 4 }),
        (tree) => {
          const { faults } = parseConfigText(stringify({ orchestrator: tree }), 'f');
          expect(Array.isArray(faults)).toBe(true);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('as variables and flags is refused with a ConfigError or accepted', () => {
    const settings = fc.dictionary(fc.constantFrom(...paths), fc.string({ unit: 'binary', maxLength: 40 }), {
      maxKeys: 5,
    });
    fc.assert(
      fc.property(settings, settings, (variables, flags) => {
        const env = Object.fromEntries(
          Object.entries(variables).map(([path, text]) => [envName(path), text]),
        );
        try {
          loadConfig({ env, flags });
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('that unfolds or nests without end is bounded in time and told', () => {
    const laughs = [
      'a0: &a0 [x]',
      ...Array.from({ length: 20 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`),
    ];
    const hostile = [
      `${laughs.join('\n')}\norchestrator: { relationships: *a20 }`,
      'orchestrator: &a { session: *a }',
      `a: &a x\norchestrator: { relationships: [${'*a ,'.repeat(16_000)}] }`,
      `orchestrator: ${'['.repeat(MAX_FILE_BYTES - 20)}`,
      `orchestrator: ${'{a: '.repeat(16_000)}`,
      `orchestrator:\n${Array.from({ length: 6_000 }, (_, i) => `  k${i}: 1`).join('\n')}`,
      `orchestrator: { id: "${'a'.repeat(60_000)}" }`,
      `orchestrator: { relationships: [${'a,'.repeat(30_000)}] }`,
    ];
    const { faults } = parseConfigText(hostile[2] ?? '', 'f');
    expect(faults.map(({ message }) => message)).toContain('more than 100 aliases');
    for (const text of hostile) {
      expect(text.length).toBeLessThanOrEqual(MAX_FILE_BYTES);
      const started = performance.now();
      const { faults, values } = parseConfigText(text, 'f');
      expect(faults.length + values.length).toBeGreaterThan(0);
      expect(faults.length).toBeLessThanOrEqual(101);
      expect(performance.now() - started).toBeLessThan(3_000);
    }
  });
});

describe('a guess', () => {
  it('forgives a swap, a slip and a missing letter, but does not invent', () => {
    const known = ['listen', 'lease', 'max_age'];
    expect(['lisetn', 'leese', 'maxage', 'zzzzzz'].map((word) => closest(word, known))).toEqual([
      'listen',
      'lease',
      'max_age',
      undefined,
    ]);
  });
});
