import { defineConfig } from 'vitest/config';

/** The interop lane has its own configuration: it needs the tools that scripts/interop.mjs sets up. */
export default defineConfig({
  test: {
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/interop/**/*.test.ts'],
    maxWorkers: 2, // they mostly wait
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
