import { closeSync, openSync, readSync } from 'node:fs';
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
} from 'yaml';
import { type NodeReader, type RawNode, readNode } from './blocks/node.ts';
import type { ConfigFault } from './errors.ts';
import { shown } from './errors.ts';
import type { KeySpec } from './key.ts';
import { KEYS } from './schema.ts';
import { didYouMean } from './suggest.ts';
import type { Raw } from './values.ts';

export const MAX_FILE_BYTES = 65_536;
/** Each is looked for in the whole document. Nothing unfolds: only known keys are entered, and lists of blocks four levels deep. */
const MAX_ALIASES = 100;
const MAX_FAULTS = 100;
const ROOT = 'orchestrator';

export interface FileValue {
  key: KeySpec;
  raw: Raw;
  /** Of a list of blocks, in place of `raw`. */
  node?: RawNode;
  /** "file:line:column" of the value. */
  at: string;
  /** "file:<path>:<line>". */
  source: string;
}

export interface FileContent {
  values: FileValue[];
  faults: ConfigFault[];
}

/** Reads a configuration file; every mistake is a fault, nothing is thrown. */
export function readConfigFile(file: string): FileContent {
  const text = readBounded(file);
  if (typeof text !== 'string') return { values: [], faults: [text] };
  return parseConfigText(text, file);
}

function readBounded(file: string): string | ConfigFault {
  const fault = (message: string): ConfigFault => ({ path: '', source: file, message });
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, 'r');
    const buffer = Buffer.alloc(MAX_FILE_BYTES + 1);
    let length = 0;
    for (;;) {
      const read = readSync(descriptor, buffer, length, buffer.length - length, null);
      length += read;
      if (length > MAX_FILE_BYTES) return fault(`is larger than ${MAX_FILE_BYTES / 1_024} KiB`);
      if (read === 0) break;
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, length));
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const known: Record<string, string> = {
      ENOENT: 'does not exist',
      EACCES: 'may not be read',
      EISDIR: 'is a directory',
      ERR_ENCODING_INVALID_ENCODED_DATA: 'is not UTF-8 text',
    };
    return fault(known[code] ?? `cannot be read (${code || 'unknown error'})`);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

export function parseConfigText(text: string, file: string): FileContent {
  const parsed = parseYaml(text, file);
  if (Array.isArray(parsed)) return { values: [], faults: parsed };
  return new Walk({ ...parsed, file }).run();
}

/** A list of blocks as a variable or flag holds it: YAML, and so also JSON. Undefined: mistakes were added. */
export function parseBlockText(
  text: string,
  { path, source }: { path: string; source: string },
  faults: ConfigFault[],
): RawNode | undefined {
  if (Buffer.byteLength(text) > MAX_FILE_BYTES) {
    faults.push({ path, source, message: `is larger than ${MAX_FILE_BYTES / 1_024} KiB` });
    return undefined;
  }
  const parsed = parseYaml(text, source);
  if (Array.isArray(parsed)) {
    faults.push(...parsed.map((fault) => ({ ...fault, path })));
    return undefined;
  }
  const walk = new Walk({ ...parsed, file: source });
  const node = walk.tree();
  faults.push(...walk.faults);
  return node;
}

interface Parsed {
  document: Document.Parsed;
  lines: LineCounter;
}

function parseYaml(text: string, file: string): Parsed | ConfigFault[] {
  const lines = new LineCounter();
  let document: Document.Parsed;
  try {
    document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: 'error' });
  } catch {
    // The parser recurses: only nesting beyond the stack gets here.
    return [{ path: '', source: file, message: 'is nested too deeply' }];
  }
  const faults = [...document.errors, ...document.warnings].map((problem) => {
    const { line, col } = lines.linePos(problem.pos[0]);
    return { path: '', source: `${file}:${line}:${col}`, message: yamlWords(problem.code, problem.message) };
  });
  return faults.length > 0 ? faults.slice(0, MAX_FAULTS) : { document, lines };
}

function yamlWords(code: string, message: string): string {
  if (code === 'DUPLICATE_KEY') return 'this key stands there twice';
  if (code === 'MULTIPLE_DOCS') return 'the file must hold one YAML document';
  const line = message.split('\n', 1)[0] ?? '';
  // The parser quotes a piece of the text, which may be a password.
  return `is not valid YAML: ${line.replace(/(["'`]).*\1/g, '…').slice(0, 120)}`;
}

const BY_PATH = new Map(KEYS.map((key) => [key.path, key]));
const SECTIONS = new Set(
  KEYS.flatMap(({ path }) => {
    const parts = path.split('.');
    return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('.'));
  }),
);

/** One pass over a parsed document, which collects the known keys and the faults. */
class Walk {
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;
  readonly #file: string;
  readonly #content: FileContent = { values: [], faults: [] };
  #aliases = 0;
  readonly #reader: NodeReader = {
    resolve: (node, path) => this.#resolve(node, path),
    keyName: (pair, path) => this.#keyName(pair, path),
    at: (node) => {
      const { line, col } = this.#position(node);
      return `${this.#file}:${line}:${col}`;
    },
  };

  constructor({ document, lines, file }: Parsed & { file: string }) {
    this.#document = document;
    this.#lines = lines;
    this.#file = file;
  }

  get faults(): readonly ConfigFault[] {
    return this.#content.faults;
  }

  /** All of the document, as a list of blocks. */
  tree(): RawNode {
    return readNode(this.#document.contents, '', this.#reader);
  }

  run(): FileContent {
    const root = this.#document.contents;
    if (root === null || (isScalar(root) && root.value === null)) return this.#content;
    if (!isMap(root)) {
      this.#fault(root, '', `must be a mapping with the key ${ROOT}`);
      return this.#content;
    }
    for (const pair of root.items) {
      const name = this.#keyName(pair, '');
      if (name === ROOT) this.#section(pair, '');
      else if (name !== undefined) {
        const belongs = BY_PATH.has(name) || SECTIONS.has(name) ? `; it belongs under "${ROOT}:"` : '';
        this.#fault(pair.key, '', `unknown key ${shown(name)}${belongs || didYouMean(name, [ROOT])}`);
      }
    }
    return this.#content;
  }

  #section(pair: Pair, path: string): void {
    const node = this.#resolve(pair.value, path);
    if (node === undefined || (isScalar(node) && node.value === null)) return;
    if (!isMap(node)) {
      this.#fault(node, path, 'must be a section with keys of its own');
      return;
    }
    const seen = new Set<string>();
    for (const inner of node.items) {
      const name = this.#keyName(inner, path);
      if (name === undefined) continue;
      const innerPath = path === '' ? name : `${path}.${name}`;
      // `1` and "1" are different keys to YAML.
      if (seen.has(name)) this.#fault(inner.key, innerPath, 'this key stands there twice');
      seen.add(name);
      const key = BY_PATH.get(innerPath);
      if (key !== undefined) this.#leaf(key, inner);
      else if (SECTIONS.has(innerPath)) this.#section(inner, innerPath);
      else this.#unknown(inner, name, path);
    }
  }

  #blocks(key: KeySpec, pair: Pair): void {
    const node = readNode(pair.value, key.path, this.#reader);
    if (node.kind === 'nothing') {
      this.#fault(pair.key, key.path, 'has no value');
      return;
    }
    const { line } = this.#position(pair.value);
    this.#content.values.push({ key, raw: null, node, at: node.at, source: `file:${this.#file}:${line}` });
  }

  #leaf(key: KeySpec, pair: Pair): void {
    if (key.kind === 'blocks') {
      this.#blocks(key, pair);
      return;
    }
    const node = this.#resolve(pair.value, key.path);
    if (node === undefined) {
      if (pair.value === null) this.#fault(pair.key, key.path, 'has no value');
      return;
    }
    if (isMap(node)) {
      this.#fault(node, key.path, 'must be a single value, not a section');
      return;
    }
    let raw: Raw;
    if (isSeq(node)) {
      raw = node.items.map((item) => {
        const inner = this.#resolve(item, key.path);
        return isScalar(inner) ? inner.value : null;
      });
    } else raw = isScalar(node) ? (node.value as Raw) : null;
    if (raw === null) {
      this.#fault(pair.key, key.path, 'has no value');
      return;
    }
    const position = this.#position(pair.value);
    this.#content.values.push({
      key,
      raw,
      at: `${this.#file}:${position.line}:${position.col}`,
      source: `file:${this.#file}:${position.line}`,
    });
  }

  #unknown(pair: Pair, name: string, parent: string): void {
    if (this.#content.faults.length >= MAX_FAULTS) return;
    const prefix = parent === '' ? '' : `${parent}.`;
    const siblings = [...BY_PATH.keys(), ...SECTIONS].filter((path) => path.startsWith(prefix));
    const names = new Set(siblings.map((path) => path.slice(prefix.length).split('.', 1)[0] ?? ''));
    const elsewhere = [...BY_PATH.keys()].filter((path) => path.endsWith(`.${name}`));
    const hint =
      didYouMean(name, names) ||
      (elsewhere.length > 0 ? `; did you mean ${elsewhere.slice(0, 3).join(' or ')}?` : '');
    this.#fault(pair.key, prefix + printable(name), `unknown key${hint}`);
  }

  /** Follows aliases; undefined where there is nothing (then a fault was noted, unless it is plainly empty). */
  #resolve(node: unknown, path: string): Node | undefined {
    if (!isAlias(node)) return isMap(node) || isSeq(node) || isScalar(node) ? node : undefined;
    this.#aliases += 1;
    if (this.#aliases > MAX_ALIASES) {
      if (this.#aliases === MAX_ALIASES + 1) this.#fault(node, path, `more than ${MAX_ALIASES} aliases`);
      return undefined;
    }
    const target = node.resolve(this.#document);
    if (target === undefined) this.#fault(node, path, 'refers to an anchor that does not exist');
    return target;
  }

  #keyName(pair: Pair, path: string): string | undefined {
    const key = this.#resolve(pair.key, path);
    if (isScalar(key) && key.value !== null) return String(key.value);
    this.#fault(pair.key, path, 'holds a key that is not a word');
    return undefined;
  }

  #position(node: unknown): { line: number; col: number } {
    const range = isAlias(node) || isMap(node) || isSeq(node) || isScalar(node) ? node.range : undefined;
    return this.#lines.linePos(range?.[0] ?? 0);
  }

  #fault(node: unknown, path: string, message: string): void {
    if (this.#content.faults.length >= MAX_FAULTS) return;
    const { line, col } = this.#position(node);
    this.#content.faults.push({ path, source: `${this.#file}:${line}:${col}`, message });
  }
}

/** A key's name for a message: on one line and bounded. */
function printable(name: string): string {
  return /^[\w.-]{1,60}$/.test(name) ? name : shown(name);
}
