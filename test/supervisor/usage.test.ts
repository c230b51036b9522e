import { spawn } from 'node:child_process';
import { expect, test } from 'vitest';
import { type ProcessRow, parsePs, parseStat, startOf } from '../../src/supervisor/process-table.ts';
import { treeOf, UsageMeter } from '../../src/supervisor/usage.ts';
import { FakeClock } from '../support/fake-clock.ts';

const row = (pid: number, parent: number, group = pid, session = group, cpuMs = 0): ProcessRow => ({
  pid,
  parent,
  group,
  session,
  zombie: false,
  cpuMs,
  residentBytes: undefined,
});

test('the tree has the descendants, and orphans of its session and group, and nobody else', () => {
  const rows = [
    row(1, 0),
    row(50, 1), // somebody else's
    row(10, 7), // the program
    row(11, 10, 10, 10),
    row(12, 11, 12, 12), // a session of its own, yet a descendant
    row(13, 12, 12, 12),
    row(14, 1, 14, 10), // its parent has ended
    row(15, 14, 15, 15),
    row(16, 1, 10, 10),
  ];
  expect(
    treeOf(rows, 10)
      .map(({ pid }) => pid)
      .sort(),
  ).toEqual([10, 11, 12, 13, 14, 15, 16]);
  expect(treeOf(rows, 99)).toEqual([]);
});

test('processes that name each other as parents do not keep the walk from ending', () => {
  expect(treeOf([row(10, 11), row(11, 10)], 10)).toHaveLength(2);
});

test('CPU is counted from reading to reading over the whole tree, and never below zero', async () => {
  const clock = new FakeClock();
  let rows = [row(10, 1, 10, 10, 0)];
  const meter = new UsageMeter({ root: 10, clock, read: async () => rows, memory: () => 1024 * 1024 });
  clock.advance(1_000);
  rows = [row(10, 1, 10, 10, 200), row(11, 10, 10, 10, 300)];
  expect(await meter.read()).toEqual({ cpuMilli: 500, memoryBytes: 2 * 1024 * 1024, processes: 2 });
  clock.advance(5_000);
  rows = [row(10, 1, 10, 10, 5_400), row(11, 10, 10, 10, 5_100)];
  expect(await meter.read()).toMatchObject({ cpuMilli: 2_000 });
  clock.advance(5_000);
  rows = [row(10, 1, 10, 10, 5_500)]; // a child took its time with it
  expect(await meter.read()).toMatchObject({ cpuMilli: 0, processes: 1 });
  rows = [];
  expect(await meter.read()).toBeUndefined();
});

test('a line of /proc is read whatever the program calls itself', () => {
  const tail = '7 10 10 0 -1 4194560 101 202 0 0 150 50 30 20 20 0 1 0 123456 1000 200 18446744073709551615';
  expect(parseStat(`42 (we) ird (name) S ${tail}`)).toEqual({
    pid: 42,
    parent: 7,
    group: 10,
    session: 10,
    zombie: false,
    cpuMs: 2_500,
    residentBytes: undefined,
  });
  expect(parseStat(`42 (x) Z ${tail}`)?.zombie).toBe(true);
  expect(parseStat('')).toBeUndefined();
});

test('what ps prints elsewhere is read, days and fractions too', () => {
  const text = ['    1     0     1      0 Ss     1234 01:02:03', ' 42 1 42 0 Z+ 10 1-00:00:01.50', 'junk'];
  expect(parsePs(text.join('\n'))).toEqual([
    { pid: 1, parent: 0, group: 1, session: 0, zombie: false, cpuMs: 3_723_000, residentBytes: 1_263_616 },
    { pid: 42, parent: 1, group: 42, session: 0, zombie: true, cpuMs: 86_401_500, residentBytes: 10_240 },
  ]);
});

test.runIf(process.platform === 'linux')(
  'a process is told by its start, and not once it has ended',
  async () => {
    const own = await startOf(process.pid);
    expect(own).toMatch(/^[0-9a-f-]{36}\/\d+$/);
    expect(await startOf(process.pid)).toBe(own);
    const child = spawn(process.execPath, ['-e', ''], { stdio: 'ignore' });
    const { pid = 0 } = child;
    await new Promise((resolve) => child.once('exit', resolve));
    expect(await startOf(pid)).toBeUndefined();
  },
);
