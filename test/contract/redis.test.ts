import { afterAll, beforeAll } from 'vitest';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { lmdbContract } from './lmdb-contract.ts';
import { redisContract } from './redis-contract.ts';
import { describeStoreContract } from './store-contract.ts';
import { describeStoreEquivalence, describeStoreProperties } from './store-properties.ts';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

const contract = redisContract(() => server);
describeStoreContract(contract);
describeStoreProperties(contract);
describeStoreEquivalence(lmdbContract, contract);
