import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { openRedisStore } from '../../src/state/redis/store.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { describeStoreContract } from './store-contract.ts';
import { describeStoreProperties } from './store-properties.ts';
import type { ContractOpenOptions, ContractStore } from './support.ts';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

/** Each store has a database of its own in the one server. */
async function open(options: ContractOpenOptions): Promise<ContractStore> {
  const database = randomBytes(6).toString('hex');
  const connect = () =>
    openRedisStore({
      ...{ url: server.url, keyPrefix: 'test', database, minReplicas: 0, waitTimeoutMs: 1_000 },
      ...{ clock: systemClock, log: silentLogger },
      ...options,
    });
  let store = await connect();
  return {
    store,
    reopen: async () => {
      await store.close();
      store = await connect();
      return store;
    },
    dispose: () => store.close(),
  };
}

describeStoreContract({ name: 'redis', open });
describeStoreProperties({ name: 'redis', open });
