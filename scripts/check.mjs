// Static checks: format and lint (with import boundaries), protobuf lint, drift of generated code, types, lockfile.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

function run(name, tool, args) {
  const started = performance.now();
  const command = tool === 'node' ? process.execPath : join('node_modules', '.bin', tool);
  const { status } = spawnSync(command, args, { stdio: 'inherit' });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)`);
  return status === 0;
}

function tree(root) {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();
}

function generatedIsCurrent() {
  const fresh = mkdtempSync(join(tmpdir(), 'orchestrator-gen-'));
  try {
    if (!run('generate into a scratch folder', 'buf', ['generate', '--output', fresh])) return false;
    const made = tree(join(fresh, 'gen'));
    const committed = tree('gen');
    const drifted = [...new Set([...made, ...committed])].filter(
      (file) =>
        !made.includes(file) ||
        !committed.includes(file) ||
        !readFileSync(join(fresh, 'gen', file)).equals(readFileSync(join('gen', file))),
    );
    for (const file of drifted)
      console.error(`gen/${file} is not what buf.gen.yaml's inputs give: run npm run generate`);
    return drifted.length === 0;
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

const results = [
  run('format, lint, import boundaries', 'biome', ['check', '--error-on-warnings', '.']),
  run('protobuf lint', 'buf', ['lint']),
  generatedIsCurrent(),
  run('types', 'tsc', ['--noEmit']),
  run('types of the dashboard', 'tsc', ['--noEmit', '-p', 'web/tsconfig.json']),
  run('types of its tests', 'tsc', ['--noEmit', '-p', 'test/browser/tsconfig.json']),
  run('lockfile', 'node', ['scripts/complete-lock.mjs', '--check']),
];
process.exit(results.every(Boolean) ? 0 : 1);
