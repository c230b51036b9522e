// Completes package-lock.json after `npm install`. A registry that mirrors only some platforms makes npm leave out the
// optional packages of the others, and `npm ci` then refuses the lock everywhere. With --check nothing is written.
import { readFileSync, writeFileSync } from 'node:fs';

const OS = /(android|darwin|linux|win32|freebsd|openbsd|netbsd|sunos|aix|openharmony)/;
const CPU = /(arm64|x64|armv?[67]?|ia32|ppc64|s390x|riscv64|loong64|mips64el|wasm32)/;

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const missing = [];
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    const places = [`node_modules/${name}`, `${path}/node_modules/${name}`];
    if (places.some((place) => lock.packages[place] !== undefined)) continue;
    missing.push(name);
    lock.packages[places[0]] = describe(name, range, entry.dev === true);
  }
}

if (missing.length === 0) process.exit(0);
if (process.argv.includes('--check')) {
  console.error(`package-lock.json lacks ${missing.join(', ')}: run node scripts/complete-lock.mjs`);
  process.exit(1);
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`);
console.log(`added ${missing.length} packages of other platforms`);

/** What npm writes for an optional package of another platform, as far as its name tells. */
function describe(name, range, dev) {
  const os = OS.exec(name)?.[1];
  const cpu = CPU.exec(name)?.[1];
  return {
    version: range.replace(/^[\^~]/, ''),
    ...(cpu === undefined ? {} : { cpu: [cpu.startsWith('arm') && cpu !== 'arm64' ? 'arm' : cpu] }),
    ...(dev ? { dev: true } : {}),
    ...(name.includes('musl') ? { libc: ['musl'] } : {}),
    optional: true,
    ...(os === undefined ? {} : { os: [os] }),
  };
}
