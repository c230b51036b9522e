import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { openLmdbStore } from '../../src/state/lmdb/lmdb-store.ts';
import type { Store } from '../../src/state/store.ts';
import type { FillingOptions, StoreArgument } from '../../src/store-admin/commands.ts';

export const { config } = loadConfig({ env: {}, flags: {} });
export const namespaces = ['default', 'a{b}*%', 'größe:7', '}'];
export const seriesNames = ['events', 'a:b:c', 'ü'];

/** A directory that is removed when the test ends. */
export async function scratch(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'orchestrator-admin-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

export const lmdb = (directory: string): StoreArgument => ({ store: `lmdb:${directory}`, config });

export function filling(options: Partial<FillingOptions> = {}): FillingOptions & { notices: string[] } {
  const notices: string[] = [];
  return {
    ...{ force: false, minEpoch: 0n, signal: new AbortController().signal, onProgress: () => {}, notices },
    onNotice: (text) => notices.push(text),
    ...options,
  };
}

export const openLmdb = (directory: string, database = 'agents_db'): Promise<Store> =>
  openLmdbStore({ directory, database, clock: systemClock, log: silentLogger });

/** Works on a database in the directory, as the service would. */
export async function withLmdb<T>(
  directory: string,
  work: (store: Store) => Promise<T>,
  database = 'agents_db',
): Promise<T> {
  const store = await openLmdb(directory, database);
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

/** A Lehmer generator: random but the same in every run. */
export function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

/** Commits of all kinds to several namespaces: puts, deletes, appends, requests and live records. */
export async function fillStore(store: Store, seed: number, commits = 300): Promise<void> {
  const random = seeded(seed);
  const value = () => Uint8Array.from({ length: random(60) }, () => random(256));
  const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T;
  const work: Promise<unknown>[] = [];
  for (let index = 0; index < commits; index++) {
    const puts = Array.from({ length: random(4) }, () => ({ key: `k/${random(commits)}é`, value: value() }));
    const appends = Array.from({ length: random(4) }, () => ({ series: pick(seriesNames), value: value() }));
    const request = { id: `r/${index}:é`, fingerprint: value(), response: value(), ttlMs: 3_600_000 };
    work.push(
      store.commit({
        ...{ namespace: pick(namespaces), puts, appends },
        deletes: random(3) === 0 ? [`k/${random(commits)}é`] : [],
        ...(random(2) === 0 ? { request } : {}),
      }),
    );
  }
  await Promise.all(work);
  await store.putLive(
    Array.from({ length: 40 }, (_, index) => ({
      ...{ namespace: pick([...namespaces, 'only-live']), key: `agent-${index}`, sequence: random(1_000) },
      epoch: (1_795_000_000n << 32n) + BigInt(random(1_000)),
      ...(index % 5 === 0 ? {} : { value: value() }),
    })),
  );
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** All that a store's own methods show of what `fillStore` put in. */
export async function contentOf(store: Store, commits = 300): Promise<unknown> {
  const content: Record<string, unknown> = { namespaces: (await store.namespaces()).sort() };
  for (const namespace of [...namespaces, 'only-live']) {
    const { entries } = await store.scan(namespace, { prefix: '', limit: 10_000 });
    const series: Record<string, unknown> = {};
    for (const name of seriesNames) {
      const found = await store.readSeries(namespace, name, { limit: 1_000 });
      series[name] = found.map((entry) => ({ ...entry, value: hex(entry.value) }));
    }
    const requests: unknown[] = [];
    for (let index = 0; index < commits; index++) {
      const found = await store.getRequest(namespace, `r/${index}:é`);
      if (!found) continue;
      const { revision, fingerprint, response } = found;
      requests.push([index, revision, hex(fingerprint), hex(response)]);
    }
    const live = (await store.scanLive(namespace)).map((record) => ({
      ...record,
      value: hex(record.value ?? new Uint8Array()),
    }));
    content[namespace] = {
      entries: entries.map((entry) => ({ ...entry, value: hex(entry.value) })),
      series,
      requests,
      live: live.sort((a, b) => (a.key < b.key ? -1 : 1)),
    };
  }
  return content;
}
