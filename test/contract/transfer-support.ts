import { randomBytes } from 'node:crypto';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { openRedisStore } from '../../src/state/redis/store.ts';
import type { RedisTransferOptions } from '../../src/state/redis/transfer-place.ts';
import type { Store } from '../../src/state/store.ts';
import type { RedisServer } from '../support/redis-server.ts';

/** A logical database in Redis that no other test has. */
export function redisPlace(server: RedisServer): RedisTransferOptions {
  return { url: server.url, keyPrefix: 'test', database: randomBytes(6).toString('hex'), clock: systemClock };
}

export function openRedis(place: RedisTransferOptions): Promise<Store> {
  return openRedisStore({ ...place, minReplicas: 0, waitTimeoutMs: 1_000, log: silentLogger });
}

export async function withRedis<T>(
  place: RedisTransferOptions,
  work: (store: Store) => Promise<T>,
): Promise<T> {
  const store = await openRedis(place);
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}
