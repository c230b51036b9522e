// Builds the dashboard (web/) into dist/web, with a brotli and a gzip form of each file. Nothing is done where nothing it is
// made of has changed since: `npm start` builds every time.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

const SOURCES = ['web', 'gen', 'package-lock.json', 'scripts/build-web.mjs'];
const OUT = 'dist/web';
const STAMP = 'dist/web.stamp';
const COMPRESSED = /\.(?:js|css|html|svg|json|webmanifest)$/;

function files(path) {
  if (!existsSync(path)) return [];
  if (path.includes('.')) return [path];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

function fingerprint() {
  const hash = createHash('sha256');
  for (const file of SOURCES.flatMap(files)) hash.update(`${file}\0`).update(readFileSync(file));
  return hash.digest('hex');
}

const stamp = fingerprint();
const isBuilt =
  existsSync(join(OUT, 'index.html')) && existsSync(STAMP) && readFileSync(STAMP, 'utf8') === stamp;
if (!isBuilt || process.argv.includes('--force')) {
  const { build } = await import('vite'); // takes longer to load than all else
  await build({ configFile: 'web/vite.config.ts', logLevel: 'warn' });
  const compress = { br: promisify(brotliCompress), gz: promisify(gzip) };
  const best = { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } };
  await Promise.all(
    files(OUT)
      .filter((file) => COMPRESSED.test(file))
      .map(async (file) => {
        const plain = readFileSync(file);
        writeFileSync(`${file}.br`, await compress.br(plain, best));
        writeFileSync(`${file}.gz`, await compress.gz(plain, { level: 9 }));
      }),
  );
  writeFileSync(STAMP, stamp);
}
