import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { expect, onTestFinished } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { openRedisStore, type RedisStoreOptions } from '../../src/state/redis/store.ts';
import { type Store, StoreUnavailableError } from '../../src/state/store.ts';
import { type FaultProxy, startProxy } from '../support/redis-proxy.ts';
import { type SentinelFleet, type SentinelFleetOptions, startSentinels } from '../support/redis-sentinel.ts';
import { type RedisServer, type RedisServerOptions, startRedis } from '../support/redis-server.ts';
import { until } from '../support/until.ts';

/** A redis-server that ends with the test. */
export async function useRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const server = await startRedis(options);
  onTestFinished(() => server.stop());
  return server;
}

export async function useProxy(server: RedisServer): Promise<FaultProxy & { url: string }> {
  const proxy = await startProxy(server.port);
  onTestFinished(() => proxy.close());
  return { ...proxy, url: `redis://127.0.0.1:${proxy.port}` };
}

/** A store that is closed when the test ends; the database is a fresh one unless named. */
export async function useStore(url: string, options: Partial<RedisStoreOptions> = {}): Promise<Store> {
  const store = await openRedisStore({
    ...{ url, keyPrefix: 'test', database: randomBytes(6).toString('hex'), minReplicas: 0 },
    ...{ waitTimeoutMs: 500, clock: systemClock, log: silentLogger },
    ...options,
  });
  onTestFinished(() => store.close());
  return store;
}

/** A plain client, for what an operator or a fault would do. */
export function useClient(server: RedisServer): Redis {
  const client = new Redis(server.port, '127.0.0.1', { retryStrategy: () => 50 });
  client.on('error', () => {});
  onTestFinished(() => client.disconnect());
  return client;
}

export const available = (store: Store) =>
  until(() => store.status().available, Boolean, { what: 'availability' });

export async function failure(promise: Promise<unknown>): Promise<StoreUnavailableError> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(StoreUnavailableError);
  return error as StoreUnavailableError;
}

/** Redis servers and Sentinels that end with the test. */
export async function useSentinels(options: SentinelFleetOptions = {}): Promise<SentinelFleet> {
  const fleet = await startSentinels(options);
  onTestFinished(() => fleet.stop());
  return fleet;
}
