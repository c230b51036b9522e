import { defineConfig } from 'vitest/config';

/** Unit tests stand alone; contract and e2e tests start real servers and mostly wait for them: after the others, two at a time. */
export default defineConfig({
  test: {
    testTimeout: 20_000,
    hookTimeout: 60_000,
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
