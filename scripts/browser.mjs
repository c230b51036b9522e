// The browser lane: the dashboard in a real Chromium against the built service. npm run test:browser
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

function found() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const directory of (process.env.PATH ?? '').split(delimiter)) {
    for (const name of NAMES) {
      const file = join(directory, name);
      try {
        accessSync(file, constants.X_OK);
        return file;
      } catch {
        // Not here.
      }
    }
  }
  return undefined;
}

function install() {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return;
  console.log('There is no Chromium: apt-get install chromium');
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const run = (...args) =>
    spawnSync('apt-get', ['-qq', '-o', 'Dpkg::Use-Pty=0', ...args], { env, stdio: 'inherit' });
  const needed = ['install', '-y', '--no-install-recommends', 'chromium', 'fonts-dejavu-core'];
  if (run(...needed).status === 0) return;
  run('update');
  run(...needed);
}

if (!existsSync('dist/src/main.js') || !existsSync('dist/web/index.html')) {
  console.error('dist/ is not complete: npm run build');
  process.exit(1);
}
if (found() === undefined) install();
const chromium = found();
if (chromium === undefined) {
  console.error(
    'The browser lane needs Chromium on PATH (Debian: apt-get install chromium), or its path in CHROMIUM.',
  );
  process.exit(1);
}
console.log(`Chromium: ${chromium}`);
const { status } = spawnSync(
  'node_modules/.bin/vitest',
  ['run', '--config', 'test/browser/vitest.config.ts', '--reporter=verbose', ...process.argv.slice(2)],
  { stdio: 'inherit', env: { ...process.env, CHROMIUM: chromium } },
);
process.exit(status ?? 1);
