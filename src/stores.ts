import type { Config } from './config/config.ts';
import { storeKind } from './config/store-url.ts';
import type { Clock } from './lib/clock.ts';
import type { CloseStack } from './lib/close-stack.ts';
import type { Logger } from './lib/logger.ts';
import { openLmdbStore } from './state/lmdb/lmdb-store.ts';
import { openRedisStore } from './state/redis/store.ts';
import { type Store, type StoreOperation, StoreUnavailableError } from './state/store.ts';

export interface OpenStoresOptions {
  config: Pick<Config, 'store' | 'databases' | 'redis'>;
  clock: Clock;
  log: Logger;
  /** `role`: whose store it is; of one that stands for two, the first's. */
  onOperation: (operation: StoreOperation, kind: string, role: Role) => void;
  closing: CloseStack;
}

export type Role = 'agents' | 'system' | 'monitoring';

/** The stores behind the three databases; two names may stand for one store. */
export interface Stores {
  system: Store;
  agents: Store;
  /** History only: nothing that others wait for. */
  monitoring: Store;
}

/**
 * Opens the databases of the configuration: a URL as it stands, a name in the default store.
 * @throws StoreOpenError
 */
export async function openStores(options: OpenStoresOptions): Promise<Stores> {
  const opened = new Map<string, Store>();
  const open = async (role: Role): Promise<Store> => {
    const value = options.config.databases[role];
    const isUrl = storeKind(value) !== undefined;
    const place = { url: isUrl ? value : options.config.store, database: isUrl ? role : value };
    const key = `${place.url} ${place.database}`;
    const known = opened.get(key);
    if (known !== undefined) return known;
    const store = await openStore({ ...options, ...place, role });
    options.closing.push(`store ${place.database}`, () => store.close());
    opened.set(key, store);
    return store;
  };
  return {
    agents: await open('agents'),
    system: await open('system'),
    monitoring: await open('monitoring'),
  };
}

function openStore(
  options: OpenStoresOptions & { url: string; database: string; role: Role },
): Promise<Store> {
  const { url, database, clock, log, config, role } = options;
  const kind = storeKind(url) ?? 'lmdb';
  const onOperation = (operation: StoreOperation): void => options.onOperation(operation, kind, role);
  if (kind === 'lmdb') {
    return openLmdbStore({ directory: url.slice('lmdb:'.length), database, clock, log, onOperation });
  }
  return openRedisStore({ ...config.redis, url, database, clock, log, onOperation });
}

/** For work that comes again by itself: while the store is away, its status says so and nobody else needs to. */
export function unlessStoreAway(work: () => Promise<void>): () => Promise<void> {
  return () =>
    work().catch((error: unknown) => {
      if (!(error instanceof StoreUnavailableError)) throw error;
    });
}
