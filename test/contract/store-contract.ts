import { describe } from 'vitest';
import { describeChanges } from './contract-changes.ts';
import { describeCommits } from './contract-commits.ts';
import { describeFollowing } from './contract-follow.ts';
import { describeReads } from './contract-reads.ts';
import { describeRequests } from './contract-requests.ts';
import { describeSeries } from './contract-series.ts';
import type { StoreContract } from './support.ts';

/** Everything that `src/state/store.ts` promises, as tests of one adapter. */
export function describeStoreContract(contract: StoreContract): void {
  describe(`the store contract on ${contract.name}`, () => {
    describeCommits(contract);
    describeRequests(contract);
    describeReads(contract);
    describeChanges(contract);
    describeFollowing(contract);
    describeSeries(contract);
  });
}
