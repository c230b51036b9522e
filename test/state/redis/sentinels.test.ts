import { describe, expect, it } from 'vitest';
import { chooseMaster, type SentinelAnswer } from '../../../src/state/redis/sentinels.ts';

const says = (port: number, configEpoch: number): SentinelAnswer => ({
  address: { host: 'h', port },
  configEpoch,
});

describe('of what three Sentinels say', () => {
  it.each([
    ['nothing is known when none answers', [], undefined, undefined],
    ['one answer is enough', [says(1, 0)], undefined, says(1, 0)],
    ['the highest configuration epoch wins', [says(1, 3), says(2, 4), says(1, 3)], undefined, says(2, 4)],
    ['the majority wins within an epoch', [says(1, 0), says(2, 0), says(2, 0)], undefined, says(2, 0)],
    ['a failover is followed as soon as one tells of it', [says(1, 3), says(2, 4)], says(1, 3), says(2, 4)],
    ['a Sentinel that slept through a failover is not believed', [says(1, 3)], says(2, 4), undefined],
    ['nor is one that names another in the same epoch', [says(1, 4), says(2, 4)], says(2, 4), undefined],
    ['a failover back is one too', [says(1, 5)], says(2, 4), says(1, 5)],
    [
      'most of them are believed in any case: they were set up anew',
      [says(1, 0), says(1, 0)],
      says(2, 4),
      says(1, 0),
    ],
    ['silence changes nothing', [], says(2, 4), undefined],
    ['what is known is confirmed', [says(2, 4), says(1, 3)], says(2, 4), says(2, 4)],
  ] as const)('%s', (_, answers, known, expected) => {
    expect(chooseMaster({ answers: [...answers], known, sentinels: 3 })).toEqual(expected);
  });
});
