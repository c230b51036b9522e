import { type Change, type Commit, QUIET_PREFIX } from './store.ts';

/** Longest key, namespace, series name or request id, in bytes of UTF-8. */
export const MAX_KEY_BYTES = 512;

/**
 * Throws a RangeError unless `text` is well-formed Unicode of 1 to 512 bytes of UTF-8. `what` names it in the message.
 * The domain bounds ids long before; this keeps both adapters to the same limit.
 */
export function checkKey(what: string, text: string): void {
  // Most keys are far below the limit: three bytes a UTF-16 unit is the worst case.
  const bytes = text.length * 3 <= MAX_KEY_BYTES ? text.length : Buffer.byteLength(text);
  if (bytes === 0 || bytes > MAX_KEY_BYTES) {
    throw new RangeError(
      `${what} must have 1 to ${MAX_KEY_BYTES} bytes of UTF-8, not ${Buffer.byteLength(text)}`,
    );
  }
  if (/\p{Surrogate}/u.test(text)) throw new RangeError(`${what} is not well-formed Unicode`);
}

/** Checks every name in a commit. */
export function checkCommit(commit: Commit): void {
  checkKey('namespace', commit.namespace);
  for (const { key } of commit.checks ?? []) checkKey('key', key);
  for (const { key } of commit.puts ?? []) checkKey('key', key);
  for (const key of commit.deletes ?? []) checkKey('key', key);
  for (const { series } of commit.appends ?? []) checkKey('series', series);
  if (commit.request) checkKey('request id', commit.request.id);
}

/** Throws a RangeError unless `limit` is a whole number from 1 to `max`. */
export function checkLimit(limit: number, max: number): void {
  if (!Number.isInteger(limit) || limit < 1 || limit > max) {
    throw new RangeError(`limit must be a whole number from 1 to ${max}, not ${limit}`);
  }
}

/** What followers and the change log are told of what a commit changes. */
export function toldOf(changes: readonly Change[]): readonly Change[] {
  const told = changes.filter(({ key }) => !key.startsWith(QUIET_PREFIX));
  return told.length === changes.length ? changes : told;
}

/**
 * What a commit changes, in the order of first mention: each key once, the last put of a key wins, and a delete wins
 * over a put. A delete of a key that does not exist is listed as well.
 */
export function changesOf(commit: Commit): Change[] {
  const byKey = new Map<string, Uint8Array | undefined>();
  for (const { key, value } of commit.puts ?? []) byKey.set(key, value);
  for (const key of commit.deletes ?? []) byKey.set(key, undefined);
  return Array.from(byKey, ([key, value]) => (value === undefined ? { key } : { key, value }));
}
