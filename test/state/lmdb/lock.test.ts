import { expect, it } from 'vitest';
import { StoreOpenError } from '../../../src/state/store.ts';
import { openStore, scratch, startChild } from './support.ts';

it('refuses a directory that another process has open, in one line that names both', async () => {
  const directory = await scratch();
  const child = startChild(directory, 'hold');
  const pid = (await child.line('open')).split(' ')[1];
  const error = await openStore(directory).then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(StoreOpenError);
  expect(String(error)).toContain(directory);
  expect(String(error)).toContain(`in use by process ${pid}`);
  expect(String(error)).not.toContain('\n');
});

it('is open to the next process after SIGKILL, and after an orderly close', async () => {
  const directory = await scratch();
  for (const signal of ['SIGKILL', 'SIGTERM', 'SIGKILL'] as const) {
    const child = startChild(directory, 'hold');
    await child.line('open');
    await child.end(signal);
    const store = await openStore(directory);
    expect(store.status().available).toBe(true);
    await store.close();
  }
});

it('lets one of several processes that start at once have a directory whose holder was killed', async () => {
  const directory = await scratch();
  const killed = startChild(directory, 'hold');
  await killed.line('open');
  await killed.end('SIGKILL');
  const children = Array.from({ length: 4 }, () => startChild(directory, 'hold'));
  const first = await Promise.all(
    children.map((child) => Promise.any([child.line('open'), child.line('error')])),
  );
  expect(first.filter((line) => line.startsWith('open'))).toHaveLength(1);
  expect(first.filter((line) => line.includes('in use by process'))).toHaveLength(3);
});

it('refuses to open one database twice in a process, and opens two of one directory', async () => {
  const directory = await scratch();
  const agents = await openStore(directory);
  await openStore(directory, { database: 'system_db' });
  await expect(openStore(directory)).rejects.toThrow(`in use by process ${process.pid} (this one)`);
  await agents.commit({ namespace: 'n' });
  await agents.close();
  expect((await (await openStore(directory)).position('n')).revision).toBe(1n);
});
