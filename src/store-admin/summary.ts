import { hash } from 'node:crypto';
import type { TransferRecord } from '../state/transfer.ts';
import { encodeRecord } from '../state/transfer-codec.ts';

const MODULUS = 1n << 128n;
/** Requests are compared in groups by when they expire, so that those which do so meanwhile are left out. */
const EXPIRY_STEPS_MS = [0, 60_000, 600_000, 3_600_000, 6 * 3_600_000];

/** How many records, and the sum of their hashes: the same for the same records in any order. */
export interface Tally {
  count: number;
  sum: bigint;
}

export interface NamespaceSummary {
  /** Undefined: it has soft records alone. */
  revision: bigint | undefined;
  entries: Tally;
  series: Tally;
  live: Tally;
  /** By EXPIRY_STEPS_MS after the beginning. */
  requests: Tally[];
}

/** What two places are said to hold the same by. */
export interface Summary {
  beganMs: number;
  namespaces: Map<string, NamespaceSummary>;
  records: number;
}

/** What differs in a namespace, as one phrase: `entries: 12 and 11`. */
export interface Difference {
  namespace: string;
  what: string;
}

const none = (): Tally => ({ count: 0, sum: 0n });

/** Summaries that are compared must begin with the same `beganMs`. */
export const newSummary = (beganMs: number): Summary => ({ beganMs, namespaces: new Map(), records: 0 });

export function addTo(summary: Summary, records: readonly TransferRecord[]): void {
  for (const record of records) {
    const namespace = namespaceOf(summary, record.namespace);
    if (record.kind === 'namespace') {
      namespace.revision = record.revision;
      continue;
    }
    const tally = tallyOf(summary, namespace, record);
    if (!tally) continue;
    summary.records++;
    tally.count++;
    tally.sum = (tally.sum + digestOf(record)) % MODULUS;
  }
}

export interface CompareOptions {
  /** What the revisions of `b` must be ahead by; undefined: they may differ. */
  leap?: bigint;
  nowMs: number;
  /** Live records of a store in use change all the time. */
  live: boolean;
}

/** What differs, in the order of namespaces; nothing: they hold the same. */
export function compare(a: Summary, b: Summary, options: CompareOptions): Difference[] {
  const names = [...new Set([...a.namespaces.keys(), ...b.namespaces.keys()])].sort();
  return names.flatMap((namespace) => {
    const [of, and] = [a.namespaces.get(namespace), b.namespaces.get(namespace)];
    if (!of || !and) return [{ namespace, what: `is only in the ${of ? 'first' : 'second'}` }];
    const phrases = [
      ...headPhrases(of, and, options),
      ...phrase('entries', of.entries, and.entries),
      ...phrase('series', of.series, and.series),
      ...(options.live ? phrase('live records', of.live, and.live) : []),
      ...requestPhrases(a, of, and, options),
    ];
    return phrases.map((what) => ({ namespace, what }));
  });
}

function headPhrases(a: NamespaceSummary, b: NamespaceSummary, { leap }: CompareOptions): string[] {
  if ((a.revision === undefined) !== (b.revision === undefined)) {
    return [`commits only in the ${a.revision === undefined ? 'second' : 'first'}`];
  }
  if (leap === undefined || a.revision === undefined || b.revision === a.revision + leap) return [];
  return [`last revision: ${a.revision}, and ${b.revision} instead of ${a.revision + leap}`];
}

function requestPhrases(
  summary: Summary,
  a: NamespaceSummary,
  b: NamespaceSummary,
  { nowMs }: CompareOptions,
): string[] {
  return EXPIRY_STEPS_MS.flatMap((stepMs, at) => {
    if (summary.beganMs + stepMs <= nowMs) return [];
    return phrase('remembered requests', a.requests[at] ?? none(), b.requests[at] ?? none());
  }).slice(0, 1);
}

function phrase(what: string, a: Tally, b: Tally): string[] {
  if (a.count !== b.count) return [`${what}: ${a.count} and ${b.count}`];
  return a.sum === b.sum ? [] : [`${what}: ${a.count} each, with other content`];
}

function namespaceOf(summary: Summary, name: string): NamespaceSummary {
  const known = summary.namespaces.get(name);
  if (known) return known;
  const requests = EXPIRY_STEPS_MS.map(none);
  const made = { revision: undefined, entries: none(), series: none(), live: none(), requests };
  summary.namespaces.set(name, made);
  return made;
}

function tallyOf(summary: Summary, namespace: NamespaceSummary, record: TransferRecord): Tally | undefined {
  switch (record.kind) {
    case 'namespace':
      return undefined;
    case 'entry':
      return namespace.entries;
    case 'series':
      return namespace.series;
    case 'live':
      return namespace.live;
    case 'request': {
      const leftMs = record.expiresMs - summary.beganMs;
      const step = EXPIRY_STEPS_MS.findLastIndex((stepMs) => leftMs > stepMs);
      return namespace.requests[step];
    }
  }
}

/** 128 bits. Of a request without its end, which Redis before 7 tells only roughly. */
function digestOf(record: TransferRecord): bigint {
  const bytes = encodeRecord(record.kind === 'request' ? { ...record, expiresMs: 0 } : record);
  return BigInt(`0x${hash('sha256', bytes, 'hex').slice(0, 32)}`);
}
