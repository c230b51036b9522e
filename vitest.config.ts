import { defineConfig } from 'vitest/config';
import type { TestSequencer } from 'vitest/node';

/** Test files that take longest, longest first: those that start late are waited for alone. */
const LONG = [
  ...['redis-outage', 'fault-rounds', 'state-and-locks', 'rolling-restart', 'watch-resume', 'mass-failure'],
  ...[
    'message-rounds',
    'redis-sentinel',
    'liveness',
    'slow-clients',
    'crash',
    'supervise',
    'supervise-service',
  ],
];

class LongFirst implements TestSequencer {
  async shard<T>(files: T[]): Promise<T[]> {
    return files;
  }

  async sort<T extends { moduleId: string }>(files: T[]): Promise<T[]> {
    const place = ({ moduleId }: T): number => {
      const at = LONG.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`));
      return at === -1 ? LONG.length : at;
    };
    return files.toSorted((a, b) => place(a) - place(b));
  }
}

/** Unit tests stand alone; contract and e2e tests start real servers and mostly wait for them: after the others, two at a time. */
export default defineConfig({
  test: {
    testTimeout: 20_000,
    hookTimeout: 60_000,
    sequence: { sequencer: LongFirst },
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['test/**/*.test.ts'], exclude: ['test/{contract,e2e,interop}/**'] },
      },
      {
        extends: true,
        test: {
          name: 'servers',
          include: ['test/{contract,e2e}/**/*.test.ts'],
          globalSetup: ['test/support/global-setup.ts'],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
          testTimeout: 120_000,
        },
      },
    ],
  },
});
