// Copies what the compiler leaves behind: Lua scripts and static files that the service reads at run time.
import { cpSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

const extensions = ['.lua', '.binpb', '.html', '.css'];

function copyFrom(directory) {
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !extensions.some((extension) => entry.name.endsWith(extension))) continue;
    const source = join(entry.parentPath, entry.name);
    const target = join('dist', source);
    mkdirSync(dirname(target), { recursive: true });
    cpSync(source, target);
  }
}

for (const directory of ['src', 'gen']) if (existsSync(directory)) copyFrom(directory);
