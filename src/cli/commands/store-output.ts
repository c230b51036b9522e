import { redactUrl } from '../../config/store-url.ts';
import type { BackedUp, Moved, NamespaceSummary, Summary, Verified } from '../../store-admin/commands.ts';
import type { Context } from '../context.ts';
import { renderTable } from '../output/table.ts';
import { bad, good, plain, type Span, strong } from '../output/text.ts';
import { formatBytes } from './store-progress.ts';

/** As the operator named them. */
export interface StoreNames {
  from: string;
  to: string;
}

const shown = (names: StoreNames): StoreNames => ({ from: redactUrl(names.from), to: redactUrl(names.to) });

export function renderMoved(
  context: Context,
  done: { names: StoreNames; moved: readonly Moved[]; doing: 'copied' | 'restored' },
): void {
  const { from, to } = shown(done.names);
  const { moved, doing } = done;
  if (context.format === 'json') {
    const databases = moved.map(({ database, sourceEpoch, epoch, summary }) => {
      return { database, sourceEpoch: `${sourceEpoch}`, epoch: `${epoch}`, ...counts(summary) };
    });
    printJson(context, { operation: doing, from, to, verified: true, databases });
    return;
  }
  context.print(table(context, moved));
  context.say([good(doing), plain(` ${from} to ${to}, read back and found the same`)]);
  for (const { database, sourceEpoch, epoch } of moved) {
    context.say([plain(`  ${database}: store epoch ${sourceEpoch} there, ${epoch} here`)]);
  }
}

export function renderBackedUp(context: Context, done: BackedUp & { names: StoreNames }): void {
  const { from, to } = shown(done.names);
  const { bytes, databases } = done;
  if (context.format === 'json') {
    const described = databases.map(({ database, epoch, summary }) => {
      return { database, epoch: `${epoch}`, ...counts(summary) };
    });
    printJson(context, {
      operation: 'backed up',
      from,
      to,
      bytes,
      verified: true,
      databases: described,
    });
    return;
  }
  context.print(table(context, databases));
  context.say([
    good('backed up'),
    plain(` ${from} to ${to}, ${formatBytes(bytes)}, read again and found the same`),
  ]);
}

export function renderVerified(context: Context, done: Verified & { names: StoreNames }): void {
  const { from, to } = shown(done.names);
  const { databases } = done;
  const differences = databases.flatMap(({ database, differences }) =>
    differences.map(({ namespace, what }) => ({ database, namespace, what })),
  );
  const same = differences.length === 0;
  if (context.format === 'json') {
    const described = databases.map(({ database, a, b }) => ({ database, a: counts(a), b: counts(b) }));
    printJson(context, {
      operation: 'verified',
      a: from,
      b: to,
      same,
      differences,
      databases: described,
    });
    return;
  }
  if (same) {
    context.print(
      table(
        context,
        databases.map(({ database, a }) => ({ database, summary: a })),
      ),
    );
    context.say([good('the same'), plain(` in ${from} and ${to}`)]);
    return;
  }
  for (const { database, namespace, what } of differences) {
    context.say([
      bad('differs '),
      strong(`${database}${namespace === '' ? '' : `/${namespace}`}`),
      plain(` ${what}`),
    ]);
  }
}

const columns = [
  { title: 'DATABASE' },
  { title: 'NAMESPACE', shrinkTo: 12 },
  ...['REVISION', 'ENTRIES', 'SERIES', 'REQUESTS', 'LIVE'].map((title) => ({
    title,
    align: 'right' as const,
  })),
];

function table(context: Context, databases: readonly { database: string; summary: Summary }[]): string[] {
  const rows = databases.flatMap(({ database, summary }) =>
    rowsOf(summary).map(({ namespace, revision, entries, series, requests, live }): Span[] => [
      strong(database),
      plain(namespace),
      ...[revision ?? '–', entries, series, requests, live].map((figure) => plain(String(figure))),
    ]),
  );
  return rows.length === 0 ? [] : renderTable(columns, rows, context.style);
}

const counts = (summary: Summary) => ({ records: summary.records, namespaces: rowsOf(summary) });

function rowsOf(summary: Summary) {
  const sorted = [...summary.namespaces].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([namespace, found]) => ({
    namespace,
    revision: found.revision === undefined ? undefined : String(found.revision),
    entries: found.entries.count,
    series: found.series.count,
    requests: requestsOf(found),
    live: found.live.count,
  }));
}

const requestsOf = ({ requests }: NamespaceSummary): number =>
  requests.reduce((total, { count }) => total + count, 0);

function printJson(context: Context, value: object): void {
  context.print([JSON.stringify(value, undefined, 2)]);
}
