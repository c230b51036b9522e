import { defineConfig } from 'vite';

/** The dashboard is built into dist/web; all of its addresses are relative, so that it works below any path of a proxy. */
export default defineConfig({
  root: import.meta.dirname,
  base: './',
  build: {
    outDir: '../dist/web',
    emptyOutDir: true,
    target: ['chrome123', 'firefox121', 'safari17.5'],
    // Nothing inline: the content policy allows files of this port alone.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    // How long the bundler's own parts take is no concern of whoever builds.
    rolldownOptions: { checks: { pluginTimings: false } },
  },
  worker: { format: 'es' },
});
