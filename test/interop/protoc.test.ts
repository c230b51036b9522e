import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { runTool, suiteWith } from './tools.ts';

suiteWith('protoc', "Debian 12's protoc", (protoc) => {
  test('is 3.21 and compiles every proto without a warning', async () => {
    const { stdout: version } = await runTool(protoc, ['--version']);
    expect(version).toMatch(/libprotoc 3\.21\./);
    const files = readdirSync('proto', { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.proto'),
    );
    expect(files.length).toBeGreaterThan(4);
    const { code, stderr } = await runTool(protoc, ['-I', 'proto', '-o', '/dev/null', ...files]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });
});
