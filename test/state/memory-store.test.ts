import { describeStoreContract } from '../contract/store-contract.ts';
import { describeStoreProperties } from '../contract/store-properties.ts';
import type { StoreContract } from '../contract/support.ts';
import { emptyMemory, MemoryStore } from '../support/memory-store.ts';

// What the tests of the domain rest on is held to the same promises as the real stores.
const memory: StoreContract = {
  name: 'memory',
  open: async (options) => {
    const data = emptyMemory();
    let store = new MemoryStore({ ...options, data });
    return {
      store,
      reopen: async () => {
        await store.close();
        store = new MemoryStore({ ...options, data });
        return store;
      },
      dispose: () => store.close(),
    };
  },
};

describeStoreContract(memory);
describeStoreProperties(memory);
