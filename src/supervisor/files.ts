import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';

/** Files larger than this are not of ours. */
const maxBytes = 64 * 1024;

/** The text of a small file; undefined if there is none. Throws if it cannot be read or is no such file. */
export function readSmall(path: string): string | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  if (bytes.length > maxBytes)
    throw new Error(`${path} has ${bytes.length} bytes: it is not of a supervisor`);
  return bytes.toString('utf8').trim();
}

/** Replaces a file as a whole, readable by its owner alone. */
export function replaceFile(path: string, text: string): void {
  const next = `${path}.${process.pid}.new`;
  try {
    writeFileSync(next, text, { mode: 0o600 });
    renameSync(next, path);
  } catch (error) {
    rmSync(next, { force: true });
    throw error;
  }
}

/** The object in a JSON text; undefined if it is none. */
export function jsonObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
