import { lmdbContract } from './lmdb-contract.ts';
import { describeStoreContract } from './store-contract.ts';
import { describeStoreProperties } from './store-properties.ts';

describeStoreContract(lmdbContract);
describeStoreProperties(lmdbContract);
