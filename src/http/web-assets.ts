import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';

/** A file of the web page, in every form that it can be sent in. */
export interface WebAsset {
  contentType: string;
  etag: string;
  /** Its name changes with its content: it may be kept for ever. */
  immutable: boolean;
  plain: Buffer;
  /** As the build compressed it; absent where that saves nothing. */
  br: Buffer | undefined;
  gzip: Buffer | undefined;
}

/** Paths below "/", such as "/assets/index-1a2b.js"; "/index.html" is always among them. */
export type WebAssets = ReadonlyMap<string, WebAsset>;

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.webmanifest': 'application/manifest+json; charset=utf-8',
  '.svg': 'image/svg+xml; charset=utf-8',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
};

/** What a page of this kind can need at most; more is a build gone wrong. */
const MAX_FILES = 500;
const MAX_BYTES = 32 * 1024 * 1024;

/**
 * Reads the built page into memory, so that no request ever names a file. Undefined: there is none (only the compiler
 * ran). Files of unknown types and source maps are left out.
 */
export function loadWebAssets(directory: string): WebAssets | undefined {
  let names: string[];
  try {
    if (!statSync(join(directory, 'index.html')).isFile()) return undefined;
    names = readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(directory, join(entry.parentPath, entry.name)));
  } catch {
    return undefined;
  }
  const known = new Set(names);
  const served = names.filter((name) => TYPES[extname(name)] !== undefined);
  if (served.length > MAX_FILES) throw new Error(`the web page has ${served.length} files`);
  let bytes = 0;
  const read = (name: string): Buffer => {
    const content = readFileSync(join(directory, name));
    bytes += content.byteLength;
    if (bytes > MAX_BYTES) throw new Error(`the web page has more than ${MAX_BYTES} bytes`);
    return content;
  };
  const compressed = (name: string, plain: Buffer): Buffer | undefined => {
    if (!known.has(name)) return undefined;
    const content = read(name);
    return content.byteLength < plain.byteLength ? content : undefined;
  };
  const assets = new Map<string, WebAsset>();
  for (const name of served) {
    const plain = read(name);
    const path = `/${name.split(sep).join('/')}`;
    assets.set(path, {
      contentType: TYPES[extname(name)] ?? 'application/octet-stream',
      etag: `"${createHash('sha256').update(plain).digest('base64url').slice(0, 22)}"`,
      immutable: path.startsWith('/assets/'),
      plain,
      br: compressed(`${name}.br`, plain),
      gzip: compressed(`${name}.gz`, plain),
    });
  }
  return assets;
}
