import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { KEYS } from '../../src/config/schema.ts';
import { METRIC } from '../../src/telemetry/names.ts';
import { blocks, filesIn, pages, quoted, ROOT, read } from './pages.ts';

const all = pages();
const scripts = Object.keys(JSON.parse(read('package.json')).scripts);

/** Every "npm run …", "npm test" and "npm start" of a text. */
function npmScripts(text: string): string[] {
  const commands = [...text.matchAll(/\bnpm (?:run (?:--silent )?([\w:-]+)|(test|start)\b)/g)];
  return commands.map(([, run, alone]) => run ?? alone ?? '');
}

describe.each(all)('$path', ({ path, text }) => {
  it('links to what is there', () => {
    const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
    const missing = targets
      .filter((target) => !/^(https?:|#)/.test(target))
      .filter((target) => !existsSync(join(ROOT, dirname(path), target.replace(/#.*$/, ''))));
    expect(missing).toEqual([]);
  });

  it('names npm scripts, files and configuration keys that exist', () => {
    expect(npmScripts(text).filter((name) => !scripts.includes(name))).toEqual([]);
    const files = quoted(text).filter((code) =>
      /^(src|test|proto|docs|examples|bench|scripts|gen)\/[\w./-]*$/.test(code),
    );
    expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
    const sections = new Set(KEYS.map((key) => key.path.split('.')[0] ?? ''));
    const isKey = (text: string) => KEYS.some(({ path }) => path === text || path.startsWith(`${text}.`));
    const named = quoted(text).filter(
      (code) => /^[a-z]+\.[a-z_.]+$/.test(code) && sections.has(code.split('.')[0] ?? ''),
    );
    expect(named.filter((key) => !isKey(key) && !NOT_KEYS.has(key))).toEqual([]);
  });

  it('says the defaults that the schema has', () => {
    const said = [...text.matchAll(/`([a-z]+\.[a-z_.]+)`(?: is)? \((\d[\d,.]*) ?(ms|s|min|days|d)?\b/g)];
    const wrong = said.flatMap(([whole, path, number = '', unit = '']) => {
      const key = KEYS.find((one) => one.path === path);
      const expected = `${number.replaceAll(',', '')}${unit.replace('min', 'm').replace('days', 'd')}`;
      return key === undefined || `${key.default}` === expected ? [] : [`${whole}: ${key.default}`];
    });
    expect(wrong).toEqual([]);
  });

  it('shows configurations that load', () => {
    for (const { language, code } of blocks(text)) {
      if (language !== 'yaml' || !code.startsWith('orchestrator:')) continue;
      const file = join(folder, 'shown.yaml');
      writeFileSync(file, code);
      expect(() => loadConfig({ file, env: {}, flags: {} })).not.toThrow();
    }
  });
});

/** Look like keys and are none. */
const NOT_KEYS = new Set(['store.ts', 'brake.set', 'brake.lifted', 'report.daily']);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'orchestrator-docs-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('docs/events.md', () => {
  it('lists every type of event that is written, and no other', () => {
    const source = filesIn('src/domain', '.ts').map(read).join('\n');
    const written = new Set(
      [...source.matchAll(/'((?:agent|brake|loss|automation|service|report)\.[a-z_]+)'/g)].map(
        ([, type]) => type,
      ),
    );
    // `agent.${name}` of a verdict: the names of liveness, without the state that nobody judges.
    const names = [...read('src/domain/agent/liveness.ts').matchAll(/name: '([a-z_]+)'/g)].map(
      ([, name]) => name,
    );
    for (const name of names) if (name !== 'never_seen' && name !== 'unknown') written.add(`agent.${name}`);
    const listed = [
      ...read('docs/events.md').matchAll(/^\| `((?:agent|brake|loss|automation|service|report)\.[a-z_]+)`/gm),
    ].map(([, type]) => type);
    expect([...listed].sort()).toEqual([...written].sort());
  });

  it('lists every rule that judges', () => {
    const source = filesIn('src/domain/agent', '.ts').map(read).join('\n');
    const page = read('docs/events.md');
    const rules = [...source.matchAll(/(?:verdict\(|#judge\([\w.]+,|rule:)\s*'([a-z_]+)'/g)].map(
      ([, rule = '']) => rule,
    );
    expect(rules.length).toBeGreaterThan(8);
    // Those two are no judgement: their events have the caller for an actor.
    const missing = rules.filter(
      (rule) => !['registered', 'attached'].includes(rule) && !page.includes(`rule:${rule}\``),
    );
    expect(missing).toEqual([]);
  });
});

describe('docs/health.md', () => {
  it.each([
    ['suspicion', 'MIN_DEVIATION_MS', '100', 'at least 100 ms'],
    ['suspicion', 'PHI_PER_PROBE', '2', 'each makes phi 2 at most'],
    ['suspicion', 'MARGIN', '1.5', 'stalls(e / 1.5)'],
    ['suspicion', 'FLEET_WEIGHT', '100', '(round trips of this session + 100)'],
    ['suspicion', 'OWN_MEMORY', '37_000', 'its last 37,000 round trips'],
    ['suspicion', 'FLEET_MEMORY', '1_000_000', 'the fleet its last million'],
    ['suspicion', 'LONGEST_OF_LEASE', '1 / 3', 'more than a third of the lease are not counted'],
    ['silences', 'SHORTEST_MS', '250', '(250, 354, 500, 707 ms'],
    ['suspicion', 'LATE_MIN_MS', '300', 'at least 300 ms'],
    ['suspicion', 'LATE_MAX_MS', '500', 'usually at most\n500 ms'],
    ['suspicion', 'LATE_FIRST_MS', '1000', '1 s before the first round trip'],
    ['session', 'SUSPECT_PROBES', '3', 'two unanswered probes besides the ping on schedule'],
    ['session', 'PROBES_PER_LEASE', '8', 'never more than an eighth of the lease'],
    ['session', 'SUSPECT_PROBE_MS', '1000', 'A suspect is probed at most once a second'],
    ['pacing', 'INTERVALS_PER_LEASE', '3', 'never shorter than three of them'],
    ['health', 'BUSY_LOAD', '0.8', '1 up to a reported load of 0.8'],
    ['probes', 'KEPT', '8', 'latest eight unanswered pings count'],
    ['round-trips', 'WINDOW', '128', 'p50, p95 and p99 are over the last 128'],
    ['clock-offset', 'FILTER', '8', 'among the last eight'],
  ])('says what %s.ts has for %s: %s', (file, name, value, words) => {
    expect(read(`src/domain/agent/${file}.ts`)).toMatch(new RegExp(`const ${name} = ${value};`));
    expect(read('docs/health.md').replaceAll('\n', ' ')).toContain(words.replaceAll('\n', ' '));
  });
});

describe('docs/observability.md', () => {
  it('lists every metric of our own', () => {
    const page = read('docs/observability.md');
    const ours = Object.values(METRIC).filter((name) => name.startsWith('orchestrator.'));
    expect(ours.filter((name) => !page.includes(`\`${name.replaceAll('.', '_')}`))).toEqual([]);
  });
});

describe('docs/decisions', () => {
  it('have each a number of their own, without gaps', () => {
    const numbers = readdirSync(join(ROOT, 'docs/decisions'))
      .sort()
      .map((name) => Number(name.slice(0, 4)));
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
  });
});
