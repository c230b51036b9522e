import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { openLmdbStore } from '../../src/state/lmdb/lmdb-store.ts';
import type { StoreContract } from './support.ts';

export const lmdbContract: StoreContract = {
  name: 'LMDB',
  open: async (bounds) => {
    const directory = await mkdtemp(join(tmpdir(), 'orchestrator-lmdb-'));
    const open = () =>
      openLmdbStore({ directory, database: 'agents_db', clock: systemClock, log: silentLogger, ...bounds });
    let store = await open();
    return {
      store,
      reopen: async () => {
        await store.close();
        store = await open();
        return store;
      },
      dispose: async () => {
        await store.close();
        await rm(directory, { recursive: true });
      },
    };
  },
};
