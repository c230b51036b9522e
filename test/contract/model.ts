import type {
  ChangeBatch,
  ChangePage,
  Commit,
  CommitOutcome,
  Entry,
  Position,
  SeriesEntry,
  SeriesRange,
  Store,
} from '../../src/state/store.ts';

/** The part of a store whose behaviour depends on nothing but the operations. */
export type ModelledStore = Pick<
  Store,
  'commit' | 'get' | 'scan' | 'changes' | 'position' | 'namespaces' | 'readSeries' | 'trimSeries'
>;

interface Namespace {
  revision: bigint;
  entries: Map<string, Entry>;
  log: ChangeBatch[];
  series: Map<string, SeriesEntry[]>;
  requests: Map<string, { revision: bigint; fingerprint: Uint8Array; response: Uint8Array }>;
}

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** What a store should do, written as plainly as possible. Time stands still and nothing expires. */
export class ModelStore implements ModelledStore {
  readonly #epoch = 1n;
  readonly #namespaces = new Map<string, Namespace>();

  async commit(commit: Commit): Promise<CommitOutcome> {
    const state: Namespace = this.#namespaces.get(commit.namespace) ?? {
      revision: 0n,
      entries: new Map(),
      log: [],
      series: new Map(),
      requests: new Map(),
    };
    const answered = commit.request && state.requests.get(commit.request.id);
    if (answered) return { kind: 'repeated', ...answered };
    for (const check of commit.checks ?? []) {
      const revision = state.entries.get(check.key)?.revision ?? 0n;
      if (revision !== check.revision) return { kind: 'conflict', key: check.key, revision };
    }
    state.revision += 1n;
    this.#namespaces.set(commit.namespace, state);
    const { revision } = state;
    const changes = new Map<string, Uint8Array | undefined>();
    for (const { key, value } of commit.puts ?? []) changes.set(key, value);
    for (const key of commit.deletes ?? []) changes.set(key, undefined);
    for (const [key, value] of changes) {
      if (value) state.entries.set(key, { key, value, revision });
      else state.entries.delete(key);
    }
    const appends = (commit.appends ?? []).map((append, index) => ({ ...append, index }));
    for (const { series, value, index } of appends) {
      const list = state.series.get(series) ?? [];
      state.series.set(series, list);
      list.push({ revision, index, timeMs: 0, value });
    }
    state.log.push({
      namespace: commit.namespace,
      epoch: this.#epoch,
      revision,
      timeMs: 0,
      changes: [...changes].map(([key, value]) => (value ? { key, value } : { key })),
      appends,
    });
    if (commit.request) {
      const { id, fingerprint, response } = commit.request;
      state.requests.set(id, { revision, fingerprint, response });
    }
    return { kind: 'committed', epoch: this.#epoch, revision };
  }

  async get(namespace: string, key: string): Promise<Entry | undefined> {
    return this.#namespaces.get(namespace)?.entries.get(key);
  }

  async scan(namespace: string, options: { prefix: string; after?: string; limit: number }) {
    const { prefix, after, limit } = options;
    const matching = [...(this.#namespaces.get(namespace)?.entries.values() ?? [])]
      .filter(({ key }) => key.startsWith(prefix) && (after === undefined || byBytes(key, after) > 0))
      .sort((a, b) => byBytes(a.key, b.key));
    const position = await this.position(namespace);
    return { entries: matching.slice(0, limit), position, more: matching.length > limit };
  }

  async position(namespace: string): Promise<Position> {
    return { epoch: this.#epoch, revision: this.#namespaces.get(namespace)?.revision ?? 0n };
  }

  async namespaces(): Promise<string[]> {
    return [...this.#namespaces.keys()];
  }

  async changes(namespace: string, after: Position, limit: number): Promise<ChangePage> {
    const { revision } = await this.position(namespace);
    if (after.epoch !== this.#epoch || after.revision > revision)
      return { kind: 'epoch', epoch: this.#epoch };
    const newer = (this.#namespaces.get(namespace)?.log ?? []).slice(Number(after.revision));
    return { kind: 'page', batches: newer.slice(0, limit), complete: newer.length <= limit };
  }

  async readSeries(namespace: string, series: string, range: SeriesRange): Promise<SeriesEntry[]> {
    const list = [...(this.#namespaces.get(namespace)?.series.get(series) ?? [])];
    if (range.reverse) list.reverse();
    const { after } = range;
    const isAfter = (entry: SeriesEntry): boolean => {
      if (!after) return true;
      const order = Number(entry.revision - after.revision) || entry.index - after.index;
      return range.reverse ? order < 0 : order > 0;
    };
    return list.filter(isAfter).slice(0, range.limit);
  }

  async trimSeries(namespace: string, series: string, beforeMs: number, limit: number): Promise<number> {
    const list = this.#namespaces.get(namespace)?.series.get(series) ?? [];
    return list.splice(0, beforeMs > 0 ? limit : 0).length;
  }
}
