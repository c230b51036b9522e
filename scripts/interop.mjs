// The interop lane: agents and tools of other languages against the built service. npm run test:interop
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { prepareTools } from './interop-tools.mjs';

const toolsFile = '.cache/interop/tools.json';
const reportFile = '.cache/interop/report.json';

if (!existsSync('dist/src/main.js')) {
  console.error('dist/src/main.js is missing: npm run build');
  process.exit(1);
}
mkdirSync('.cache/interop', { recursive: true });
console.log('Tools of other languages, in .cache/interop:');
const tools = await prepareTools((line) => console.log(`  ${line}`));
writeFileSync(toolsFile, JSON.stringify(tools, null, 2));

rmSync(reportFile, { force: true });
const reporters = ['--reporter=verbose', '--reporter=json', `--outputFile.json=${reportFile}`];
const { status } = spawnSync(
  'node_modules/.bin/vitest',
  ['run', '--config', 'test/interop/vitest.config.ts', ...reporters, ...process.argv.slice(2)],
  { stdio: 'inherit' },
);
for (const [name, { missing }] of Object.entries(tools)) {
  if (missing !== undefined) console.log(`not run: ${name}: ${missing}`);
}
if (!existsSync(reportFile)) process.exit(status || 1);
const report = JSON.parse(readFileSync(reportFile, 'utf8'));
const suitesBroken = report.testResults.filter(
  ({ status: suite, assertionResults }) =>
    suite === 'failed' && !assertionResults.some((one) => one.status === 'failed'),
).length;
const failed = report.numFailedTests + suitesBroken;
const skipped = report.numPendingTests + (report.numTodoTests ?? 0);
console.log(`${report.numPassedTests} passed, ${failed} failed, ${skipped} skipped`);
process.exit(status !== 0 || failed > 0 ? 1 : 0);
