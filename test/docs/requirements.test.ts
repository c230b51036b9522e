import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { startCli } from '../support/run-cli.ts';
import { filesIn, quoted, ROOT, read } from './pages.ts';
import { REQUIREMENTS } from './requirements-lines.ts';

const page = read('docs/requirements.md');
const code = quoted(page);

/** The first cells of the tables under a heading and its subheadings. */
function firstCells(heading: string): string[] {
  const section = page.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? '';
  return [...section.matchAll(/^\| (.*?) \|/gm)].map(([, cell = '']) => cell);
}

describe('docs/requirements.md', () => {
  it.each(Object.entries(REQUIREMENTS))('names every line of "%s"', (section, lines) => {
    const cells = firstCells(section);
    expect(lines.filter((line) => !cells.some((cell) => cell.includes(line)))).toEqual([]);
  });

  it('names only RPCs that exist', () => {
    const methods = new Set<string>();
    for (const file of filesIn('proto', '.proto')) {
      const [, service, body = ''] = /^service (\w+) \{([\s\S]*?)^\}/m.exec(read(file)) ?? [];
      for (const [, method] of body.matchAll(/^ {2}rpc (\w+)\(/gm)) methods.add(`${service}/${method}`);
    }
    const named = code.filter((text) => /^\w+Service\/\w+$/.test(text));
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((name) => !methods.has(name))).toEqual([]);
    expect([...methods].filter((method) => !named.includes(method))).toEqual([]);
  });

  it('names only test files that exist', () => {
    const named = code.filter((text) => text.startsWith('test/'));
    expect(named.length).toBeGreaterThan(80);
    expect([...new Set(named)].filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  it.each([...new Set(code.filter((text) => text.startsWith('orchestrator ')))])(
    'names a command that exists: %s',
    async (command) => {
      const words = command.split(' ').slice(1);
      const end = words.findIndex((word) => word.startsWith('-'));
      const names = (end === -1 ? words : words.slice(0, end)).slice(
        0,
        words[0] === 'completion' ? 1 : undefined,
      );
      const run = startCli([...names, '--help']);
      expect(await run.ended).toBe(0);
      expect(run.stdout.replaceAll(/\|\w+/g, '')).toMatch(
        new RegExp(`^Usage: orchestrator ${names.join(' ')}\\b`),
      );
      for (const option of words.filter((word) => word.startsWith('--')))
        expect(run.stdout).toContain(option);
    },
  );
});
