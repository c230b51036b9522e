import { defineConfig } from 'vitest/config';
import type { TestSequencer } from 'vitest/node';

/** Test files that take longest, longest first: those that start late are waited for alone. */
const LONG = [
  ...['redis-outage', 'state-and-locks', 'crash', 'watch-resume', 'fault-rounds', 'rolling-restart'],
  ...['supervise', 'supervise-service', 'slow-clients', 'cli', 'process', 'message-rounds', 'task-rounds'],
  ...[
    'mass-failure',
    'liveness',
    'redis-sentinel',
    'store-admin',
    'cli-orders',
    'observer-doubt',
    'operations',
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

/** They count the timers that are left under fake time: another file's would be among them. */
const ALONE = ['test/client/**/*.test.ts', 'test/supervisor/**/*.test.ts'];
const SERVERS = 'test/{contract,e2e}/**/*.test.ts';

/**
 * Test files share the modules of their worker: to load them takes longer than most tests. Contract and e2e tests start real
 * servers and wait for them half of the time: after the others, three at a time on two cores.
 */
export default defineConfig({
  test: {
    testTimeout: 20_000,
    hookTimeout: 60_000,
    sequence: { sequencer: LongFirst },
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/{browser,interop}/**', SERVERS, ...ALONE],
          isolate: false,
        },
      },
      { extends: true, test: { name: 'unit-alone', include: ALONE } },
      {
        extends: true,
        test: {
          name: 'servers',
          include: [SERVERS],
          globalSetup: ['test/support/global-setup.ts'],
          isolate: false,
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
          testTimeout: 120_000,
        },
      },
    ],
  },
});
