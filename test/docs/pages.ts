import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');

export interface Page {
  /** From the root of the checkout. */
  path: string;
  text: string;
}

export const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** Files under a folder of the checkout whose names end so, from its root. */
export function filesIn(folder: string, end: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(end) && !name.includes('node_modules'))
    .map((name) => join(folder, name))
    .sort();
}

/** Everything that is written for people. */
export function pages(): Page[] {
  const paths = ['README.md', 'CONTRIBUTING.md', ...filesIn('docs', '.md'), ...filesIn('examples', '.md')];
  return paths.map((path) => ({ path, text: read(path) }));
}

/** The blocks of code of a page, by their language. */
export function blocks(text: string): { language: string; code: string }[] {
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = '', code = '']) => ({
    language,
    code,
  }));
}

/** What stands in backquotes outside of blocks. */
export function quoted(text: string): string[] {
  const prose = text.replaceAll(/^```[\s\S]*?^```$/gm, '');
  return [...prose.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code);
}
