// Puts what the service and the command line are made of into a few files, in place of their two entries: node takes as long to
// find and load a thousand modules as for everything else that it does until the service is ready. All other modules stay as the
// compiler wrote them: the SDK, benches and tests import them.
import { readdirSync, rmSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { rolldown } from 'rolldown';

const OUT = 'dist/src';
const CHUNK = /^bundle-.*\.js(\.map)?$/;
/** Native, with worker threads, or loaded on demand by their names (src/telemetry/exporters.ts). */
const APART = [/^lmdb$/, /^pino$/, /^@opentelemetry\/exporter-(logs|metrics|trace)-/];

const source = resolve('src');

/** A module's address stays what it was without the bundle: scripts and other files are found beside it. */
const addresses = {
  name: 'addresses',
  transform(code, id) {
    if (!id.startsWith(`${source}/`) || !code.includes('import.meta.url')) return null;
    const own = `./${relative(source, id).replace(/\.ts$/, '.js')}`;
    return { code: code.replaceAll('import.meta.url', `new URL('${own}', import.meta.url).href`), map: null };
  },
};

for (const file of readdirSync(OUT).filter((name) => CHUNK.test(name))) rmSync(join(OUT, file));
const bundle = await rolldown({
  input: { main: join(source, 'main.ts'), 'cli/main': join(source, 'cli', 'main.ts') },
  platform: 'node',
  external: APART,
  plugins: [addresses],
});
const { output } = await bundle.write({
  dir: OUT,
  format: 'esm',
  sourcemap: true,
  chunkFileNames: 'bundle-[name]-[hash].js',
});
await bundle.close();
const strays = output.filter(
  ({ fileName }) => dirname(fileName) === '.' && !/^(main|bundle-)/.test(fileName),
);
if (strays.length > 0)
  throw new Error(`not where addresses are right: ${strays.map(({ fileName }) => fileName)}`);
