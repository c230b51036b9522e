import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PidFile } from '../../src/supervisor/pid-file.ts';
import { startOf } from '../../src/supervisor/process-table.ts';
import { readIdentity, writeIdentity } from '../../src/supervisor/token-file.ts';

let folder: string;
let file: string;
const children: ChildProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'supervise-files-'));
  file = join(folder, 'file');
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  }
  rmSync(folder, { recursive: true, force: true });
});

describe('a token file', () => {
  const wanted = { namespace: 'default', id: 'a-1' };

  test('brings back who the agent was, and only its owner can read it', () => {
    expect(readIdentity(file, wanted)).toEqual({ ...wanted, token: undefined });
    writeIdentity(file, { ...wanted, token: 'secret' });
    expect(readIdentity(file, wanted)).toEqual({ ...wanted, token: 'secret' });
    expect(readIdentity(file, { ...wanted, id: '' }), 'an id that the service made').toMatchObject({
      id: 'a-1',
    });
    expect(statSync(file).mode & 0o077).toBe(0);
  });

  test('may hold a token alone, as "agents register" prints it, if the id is said', () => {
    writeFileSync(file, 'orch1.abc.def\n');
    expect(readIdentity(file, wanted)).toMatchObject({ id: 'a-1', token: 'orch1.abc.def' });
    expect(() => readIdentity(file, { ...wanted, id: '' })).toThrow(/--id must say/);
  });

  test.each([
    ['of another agent', '{"namespace":"default","id":"b","token":"x"}', /token of agent b in default/],
    ['of another namespace', '{"namespace":"n","id":"a-1","token":"x"}', /token of agent a-1 in n/],
    ['that holds something else', '{"password":"x"}', /holds no agent's token/],
    ['that holds words', 'not a token', /holds no agent's token/],
    ['that is too large', 'x'.repeat(70_000), /not of a supervisor/],
  ])('%s is refused, and its content is not shown', (_, text, error) => {
    writeFileSync(file, text);
    expect(() => readIdentity(file, wanted)).toThrow(error);
    try {
      readIdentity(file, wanted);
    } catch (thrown) {
      expect(String(thrown)).not.toContain(text);
    }
  });
});

describe('a pid file', () => {
  async function sleeper(): Promise<{ pid: number; start: string }> {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
    children.push(child);
    await new Promise((resolve) => child.once('spawn', resolve));
    const { pid = 0 } = child;
    return { pid, start: (await startOf(pid)) ?? '' };
  }
  const holding = (content: object) => writeFileSync(file, JSON.stringify(content));
  const dead = { pid: 2 ** 22 - 1, start: 'long ago' };

  test('is taken, says what runs, and goes', async () => {
    const pidFile = new PidFile(file);
    expect(await pidFile.claim()).toEqual({ pid: undefined, hold: undefined });
    const program = await sleeper();
    pidFile.note(program.pid, 'drain', (error) => expect.unreachable(String(error)));
    await expect
      .poll(() => JSON.parse(readFileSync(file, 'utf8')))
      .toMatchObject({ supervisor: { pid: process.pid }, program, hold: 'drain' });
    await pidFile.release();
    expect(() => statSync(file)).toThrow(/ENOENT/);
  });

  test('of a supervisor that is gone names the program that outlived it, and what held it down', async () => {
    const program = await sleeper();
    holding({ supervisor: dead, program, hold: 'quarantine' });
    expect(await new PidFile(file).claim()).toEqual({ pid: program.pid, hold: 'quarantine' });
  });

  test('a process that only has the same id is left alone', async () => {
    const { pid } = await sleeper();
    holding({ supervisor: { pid, start: 'another time' }, program: { pid, start: 'another time' } });
    expect(await new PidFile(file).claim()).toMatchObject({ pid: undefined });
  });

  test('of a supervisor that runs is not taken', async () => {
    holding({ supervisor: await sleeper() });
    await expect(new PidFile(file).claim()).rejects.toThrow(/of a supervisor that runs \(pid \d+\)/);
  });

  test.each(['', '1234\n', '{"pid":1}', '[]'])(
    'a file that is something else (%j) is not overwritten',
    async (text) => {
      writeFileSync(file, text);
      await expect(new PidFile(file).claim()).rejects.toThrow(/not a supervisor's/);
      expect(readFileSync(file, 'utf8')).toBe(text);
    },
  );

  test('names that no process may have do no harm', async () => {
    holding({ supervisor: { pid: 1, start: 'x' }, program: { pid: -1, start: 'x' }, hold: 'forever' });
    expect(await new PidFile(file).claim()).toEqual({ pid: undefined, hold: undefined });
  });
});
