// A process of its own around the built store. Usage: node child.mjs <directory> <hold|commit>
// `hold` opens the store and waits; `commit` commits from 50 committers until killed and prints each acknowledgement.
import { writeSync } from 'node:fs';
import { systemClock } from '../../../dist/src/lib/clock.js';
import { silentLogger } from '../../../dist/src/lib/logger.js';
import { openLmdbStore } from '../../../dist/src/state/lmdb/lmdb-store.js';

const [directory, mode] = process.argv.slice(2);
const tell = (line) => writeSync(1, `${line}\n`);

try {
  const store = await openLmdbStore({
    directory,
    database: 'agents_db',
    clock: systemClock,
    log: silentLogger,
  });
  tell(`open ${process.pid}`);
  process.on('SIGTERM', async () => {
    await store.close();
    process.exit(0);
  });
  if (mode === 'hold') setInterval(() => {}, 60_000);
  else {
    const committer = async (name) => {
      for (let index = 0; ; index++) {
        const key = `${process.pid}/${name}/${index}`;
        const { revision } = await store.commit({
          namespace: 'n',
          checks: [{ key, revision: 0n }],
          puts: [{ key, value: Buffer.from(key) }],
          appends: [{ series: 's', value: Buffer.from(key) }],
        });
        tell(`ack ${revision} ${key}`);
      }
    };
    await Promise.all(Array.from({ length: 50 }, (_, name) => committer(name)));
  }
} catch (error) {
  tell(`error ${error.name} ${error.message}`);
  process.exit(1);
}
