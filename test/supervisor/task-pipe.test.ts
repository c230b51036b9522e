import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AgentError, BudgetSpentError, Code, PermanentError } from '../../src/client/errors.ts';
import { TaskPipe } from '../../src/supervisor/task-pipe.ts';
import { taskOf } from './task-of.ts';

let notes: string[];
let pipe: TaskPipe;
let got: unknown[];
let stdout: NodeJS.WritableStream;
const exit = { exitCode: 3, signal: '', ranMs: 5 };
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A program that runs: what it got, and how it answers. */
function program(): void {
  const stdin = new PassThrough();
  got = [];
  stdin.on('data', (bytes: Buffer) => {
    for (const line of bytes.toString().trim().split('\n')) got.push(JSON.parse(line));
  });
  const filter = pipe.begin(stdin);
  filter.resume();
  stdout = filter;
}
async function says(...lines: (object | string)[]): Promise<void> {
  for (const line of lines) stdout.write(`${typeof line === 'string' ? line : JSON.stringify(line)}\n`);
  await settled();
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  notes = [];
  pipe = new TaskPipe({ note: (text) => notes.push(text), cancelWaitMs: 10_000 });
  program();
});
afterEach(() => {
  pipe.ended(exit);
  expect(vi.getTimerCount(), 'timers left behind').toBe(0);
  vi.useRealTimers();
});

describe('a program that takes tasks', () => {
  it('gets them as lines, and its outputs are theirs, in any order', async () => {
    const [a, b] = [pipe.handle(taskOf('a', { input: 'x' }).task), pipe.handle(taskOf('b').task)];
    await settled();
    expect(got).toMatchObject([
      { id: 'a', input: 'x', attempt: 1 },
      { id: 'b', input: null },
    ]);
    await says({ id: 'b', output: [1] }, { id: 'a', output: null });
    expect(await Promise.all([a, b])).toEqual([null, [1]]);
  });

  it.each([
    [{ id: 'a', error: 'no' }, Error, 'no'],
    [{ id: 'a', error: 'never', retryable: false }, PermanentError, 'never'],
  ])('fails one with %o', async (line, kind, message) => {
    const a = pipe.handle(taskOf('a').task).catch((error: unknown) => error);
    await says(line);
    expect(await a).toBeInstanceOf(kind);
    expect(await a).toMatchObject({ message });
    expect((await a) instanceof PermanentError).toBe(kind === PermanentError);
  });

  it('tells progress and what it spends, and hears what is left', async () => {
    const { task, progress, spent } = taskOf('a');
    pipe.handle(task).catch(() => {});
    await says(
      { id: 'a', progress: { done: 1, total: 10, name: 'pages' } },
      { id: 'a', spent: { tokens: 5 } },
    );
    expect(progress).toEqual([[1, 10, 'pages']]);
    expect(spent).toEqual([{ tokens: 5 }]);
    expect(got.at(-1)).toEqual({ id: 'a', left: { tokens: 7 } });
  });

  it('hears that it may not spend so much', async () => {
    const error = new AgentError({
      code: Code.RESOURCE_EXHAUSTED,
      reason: 'BUDGET_SPENT',
      message: '2 are left',
    });
    const { task } = taskOf('a', { spend: () => Promise.reject(new BudgetSpentError(error, { tokens: 2 })) });
    pipe.handle(task).catch(() => {});
    await says({ id: 'a', spent: { tokens: 5 } });
    expect(got.at(-1)).toEqual({
      id: 'a',
      refused: { tokens: 5 },
      reason: '2 are left',
      left: { tokens: 2 },
    });
  });

  it('that writes what is no answer is told so, and the task goes on', async () => {
    const a = pipe.handle(taskOf('a').task);
    await says('{broken', { id: 'other', output: 1 }, { id: 'a' }, 'a line for people', {
      id: 'a',
      output: 1,
    });
    expect(await a).toBe(1);
    expect(notes).toHaveLength(3);
    expect(notes[0]).toBe('wrote a line that is no answer to a task (it is no JSON), ignored: {broken');
    expect(notes[1]).toContain('it has no such task');
  });

  it('whose answer is too long has failed that task for good', async () => {
    const a = pipe.handle(taskOf('a').task).catch((error: unknown) => error);
    await says({ id: 'a', output: 'x'.repeat(70_000) });
    expect(await a).toBeInstanceOf(PermanentError);
    expect(await a).toMatchObject({ message: 'its answer was not taken: it is longer than 65536 bytes' });
    expect(notes).toHaveLength(1);
  });
});

describe('a cancelled task', () => {
  it('is told to the program, whose answer to that frees its place', async () => {
    const { task, cancel } = taskOf('a');
    const a = pipe.handle(task);
    cancel('not needed');
    await settled();
    expect(got.at(-1)).toEqual({ id: 'a', cancel: true, reason: 'not needed' });
    await says({ id: 'a', progress: { done: 1 } }, { id: 'a', output: 'late' });
    expect(await a).toBe('late');
    expect(notes).toEqual([]);
  });

  it('that is not answered frees its place after a while, and may not come again before it is', async () => {
    const { task, cancel } = taskOf('a');
    const a = pipe.handle(task).catch((error: unknown) => error);
    cancel('not needed');
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await a).toMatchObject({ message: 'not needed' });
    expect(notes[0]).toContain('the cancelled task a');
    expect(() => pipe.handle(taskOf('a', { attempt: 2 }).task)).toThrow('an earlier attempt');
    await says({ id: 'a', error: 'stopped' });
    const again = pipe.handle(taskOf('a', { attempt: 2 }).task);
    await says({ id: 'a', output: 2 });
    expect(await again).toBe(2);
  });
});

describe('a program that ends', () => {
  it('fails what it has as something that may be tried again, and gets no more until it runs', async () => {
    const a = pipe.handle(taskOf('a').task).catch((error: unknown) => error);
    pipe.ended(exit);
    expect(await a).toMatchObject({ message: 'the program ended (exit code 3) before it answered' });
    expect(await a).not.toBeInstanceOf(PermanentError);
    expect(() => pipe.handle(taskOf('b').task)).toThrow('does not run');
    program();
    const c = pipe.handle(taskOf('c').task);
    await says({ id: 'c', output: 1 });
    expect(await c).toBe(1);
  });
});
