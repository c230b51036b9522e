import { Range, SemVer, valid, validRange } from 'semver';

/** Distinct versions whose answers are remembered. */
const REMEMBERED = 1000;

/**
 * Whether a version satisfies what is wanted. The same text always does; else both must be what semver understands: a
 * version, and a version or range. As with npm, a range without a pre-release takes none.
 */
export function versionMatcher(wanted: string): (version: string) => boolean {
  if (wanted === '') return () => true;
  if (validRange(wanted) === null) return (version) => version === wanted;
  const range = new Range(wanted);
  // Parsing takes microseconds, and a fleet has few distinct versions.
  const remembered = new Map<string, boolean>();
  return (version) => {
    if (version === wanted) return true;
    let satisfied = remembered.get(version);
    if (satisfied === undefined) {
      satisfied = valid(version) !== null && range.test(new SemVer(version));
      if (remembered.size >= REMEMBERED) remembered.clear();
      remembered.set(version, satisfied);
    }
    return satisfied;
  };
}
