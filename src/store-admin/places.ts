import { resolve } from 'node:path';
import type { Config } from '../config/config.ts';
import { redactUrl, storeFault, storeKind } from '../config/store-url.ts';
import { systemClock } from '../lib/clock.ts';
import { hasLmdbDatabase, openLmdbSource, openLmdbTarget } from '../state/lmdb/transfer.ts';
import { hasRedisDatabase, openRedisSource, openRedisTarget } from '../state/redis/transfer.ts';
import { StoreOpenError } from '../state/store.ts';
import type { TransferSource, TransferTarget } from '../state/transfer.ts';
import { StoreAdminError } from './errors.ts';

export type StoreConfig = Pick<Config, 'store' | 'databases' | 'redis'>;

/** Stands for the store of the configuration where a URL is asked for. */
export const FROM_CONFIG = 'config';

/** One logical database of a store. */
export interface Place {
  database: string;
  url: string;
  redis: Config['redis'];
  /** For people: without a password. */
  shown: string;
}

/** A store as an operator names it. */
export interface StoreArgument {
  /** A store's URL, or "config". */
  store: string;
  config: StoreConfig;
  /** Instead of `redis.key_prefix`. */
  keyPrefix?: string | undefined;
}

export const isStore = (text: string): boolean => text === FROM_CONFIG || storeKind(text) !== undefined;

/** The databases that the configuration names, in the given store. @throws StoreAdminError */
export function placesOf({ store, config, keyPrefix }: StoreArgument): Place[] {
  const redis = keyPrefix === undefined ? config.redis : { ...config.redis, keyPrefix };
  if (store !== FROM_CONFIG) {
    const fault = storeFault(store);
    if (fault !== undefined) throw new StoreAdminError('usage', `the store ${fault}`);
  }
  const found = new Map<string, Place>();
  for (const role of ['agents', 'system', 'monitoring'] as const) {
    const value = config.databases[role];
    const own = storeKind(value) !== undefined;
    const database = own ? role : value;
    const url = store === FROM_CONFIG ? (own ? value : config.store) : store;
    // Two roles may share a database.
    if (!found.has(database)) found.set(database, { database, url, redis, shown: redactUrl(url) });
  }
  return [...found.values()];
}

/** The place of a database that need not be one of the configuration's. */
export function placeOf(argument: StoreArgument, database: string): Place {
  const places = placesOf(argument);
  const known = places.find((place) => place.database === database);
  if (known) return known;
  const [any] = places;
  if (!any || argument.store === FROM_CONFIG) {
    throw new StoreAdminError('usage', `the configuration names no database ${database}`);
  }
  return { ...any, database };
}

/** Those of the wanted databases that are there; by default those of the configuration. */
export async function existing(
  argument: StoreArgument,
  wanted: readonly string[] | undefined,
): Promise<Place[]> {
  if (wanted) return wanted.map((database) => placeOf(argument, database));
  const places = placesOf(argument);
  const there: Place[] = [];
  for (const place of places) if (await exists(place)) there.push(place);
  if (there.length > 0) return there;
  const names = places.map(({ database }) => database).join(', ');
  throw new StoreAdminError('failed', `there is no store in ${places[0]?.shown}: looked for ${names}`);
}

/** Whether both certainly are one; opening them tells the rest. */
export function isSame(a: Place, b: Place): boolean {
  if (a.database !== b.database) return false;
  const [of, and] = [a.url, b.url].map((url) =>
    storeKind(url) === 'lmdb' ? resolve(directoryOf(url)) : url,
  );
  return of === and && (storeKind(a.url) === 'lmdb' || a.redis.keyPrefix === b.redis.keyPrefix);
}

export const openSource = (place: Place, options: { exclusive: boolean }): Promise<TransferSource> =>
  told(() => {
    if (storeKind(place.url) === 'lmdb') return openLmdbSource({ ...lmdbOptions(place), ...options });
    return openRedisSource(redisOptions(place));
  });

export const openTarget = (place: Place): Promise<TransferTarget> =>
  told(() => {
    if (storeKind(place.url) === 'lmdb') return openLmdbTarget(lmdbOptions(place));
    return openRedisTarget(redisOptions(place));
  });

function exists(place: Place): Promise<boolean> {
  return told(async () => {
    if (storeKind(place.url) === 'lmdb') return hasLmdbDatabase(lmdbOptions(place));
    return hasRedisDatabase(redisOptions(place));
  });
}

const directoryOf = (url: string): string => url.slice('lmdb:'.length);

function lmdbOptions({ url, database }: Place) {
  return { directory: directoryOf(url), database, clock: systemClock };
}

function redisOptions({ url, database, redis }: Place) {
  return { ...redis, url, database, clock: systemClock };
}

async function told<T>(open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    if (!(error instanceof StoreOpenError)) throw error;
    const hint = / in use by process /.test(error.message)
      ? '; stop it first (store backup may read beside it)'
      : '';
    throw new StoreAdminError('failed', error.message + hint, { cause: error });
  }
}
