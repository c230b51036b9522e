import { defineConfig } from 'vitest/config';

/** The browser lane has its own configuration: it needs the Chromium that scripts/browser.mjs finds. */
export default defineConfig({
  test: {
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/browser/**/*.test.ts'],
    // A browser and a service each: one file at a time, so that what is measured is measured alone.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
