import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
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
});
