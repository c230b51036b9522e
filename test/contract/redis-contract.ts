import { randomBytes } from 'node:crypto';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { openRedisStore } from '../../src/state/redis/store.ts';
import type { RedisServer } from '../support/redis-server.ts';
import type { ContractStore, StoreContract } from './support.ts';

/** Redis stores for the contract suite: each has a database of its own in the one server. */
export function redisContract(server: () => RedisServer): StoreContract {
  return {
    name: 'redis',
    open: async (options) => {
      const database = randomBytes(6).toString('hex');
      const connect = () =>
        openRedisStore({
          ...{ url: server().url, keyPrefix: 'test', database, minReplicas: 0, waitTimeoutMs: 1_000 },
          ...{ clock: systemClock, log: silentLogger },
          ...options,
        });
      const opened: ContractStore = {
        store: await connect(),
        reopen: async () => {
          await opened.store.close();
          opened.store = await connect();
          return opened.store;
        },
        dispose: () => opened.store.close(),
      };
      return opened;
    },
  };
}
