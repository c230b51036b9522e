import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import {
  answerFilter,
  idOfHead,
  maxLineBytes,
  parseAnswer,
  taskLine,
} from '../../src/supervisor/task-lines.ts';
import { taskOf } from './task-of.ts';

/** What becomes of a program's output, in pieces. */
async function filtered(...pieces: readonly string[]) {
  const lines: string[] = [];
  const heads: string[] = [];
  const filter = answerFilter({ line: (line) => lines.push(line), tooLong: (head) => heads.push(head) });
  const rest = text(filter);
  for (const piece of pieces) filter.write(Buffer.from(piece));
  filter.end();
  return { lines, heads, rest: await rest };
}

describe('the output of a program that takes tasks', () => {
  it.each([
    ['one line in one piece', ['{"id":"a"}\n']],
    ['one line in many pieces', ['{"i', 'd":"', 'a"}', '\n']],
    ['a last line without end', ['{"id":"a"}']],
    ['spaces before it', [' \t{"id":"a"}\n']],
  ])('is an answer: %s', async (_, pieces) => {
    const { lines, rest } = await filtered(...pieces);
    expect(lines.map((line) => line.trim())).toEqual(['{"id":"a"}']);
    expect(rest).toBe('');
  });

  it('passes on what is no answer, in its order', async () => {
    const { lines, rest } = await filtered('start\n{"id":"a"}\nread ', 'page 1\n\n', '[1]\n{"id":"b"}\nend');
    expect(lines).toEqual(['{"id":"a"}', '{"id":"b"}']);
    expect(rest).toBe('start\nread page 1\n\n[1]\nend');
  });

  it.each([
    ['in one piece', ['{"id":"a","output":"', 'x'.repeat(maxLineBytes), '"}\n'].join('')],
    ['without end', `{"id":"a","output":"${'x'.repeat(maxLineBytes)}`],
  ])('drops an answer that is too long, %s, says so once, and goes on', async (_, long) => {
    const half = long.length / 2;
    const { lines, heads, rest } = await filtered(long.slice(0, half), long.slice(half), '\n{"id":"b"}\n');
    expect(heads).toHaveLength(1);
    expect(idOfHead(heads[0] ?? '')).toBe('a');
    expect(lines.filter((line) => line !== '')).toEqual(['{"id":"b"}']);
    expect(rest.trim()).toBe('');
  });

  it('passes on long lines that are no answers, without keeping them', async () => {
    const long = 'x'.repeat(maxLineBytes + 10);
    const { heads, rest } = await filtered(long, 'yz\n', '{"id":"a"}\n');
    expect(rest).toBe(`${long}yz\n`);
    expect(heads).toEqual([]);
  });

  it('is understood also where a character is cut in two', async () => {
    const bytes = Buffer.from('{"id":"ä"}\n');
    const lines: string[] = [];
    const filter = answerFilter({ line: (line) => lines.push(line), tooLong: () => {} });
    for (const byte of bytes) filter.write(Buffer.of(byte));
    filter.end();
    await text(filter);
    expect(lines).toEqual(['{"id":"ä"}']);
  });
});

describe('an answer', () => {
  it.each([
    ['{"id":"a","output":{"n":1}}', { id: 'a', output: { n: 1 }, retryable: true }],
    ['{"id":"a","output":null}', { id: 'a', output: null, retryable: true }],
    ['{"id":"a","error":"no"}', { id: 'a', error: 'no', retryable: true }],
    ['{"id":"a","error":"no","retryable":false}', { id: 'a', error: 'no', retryable: false }],
    ['{"id":"a","progress":{"done":1}}', { id: 'a', progress: { done: 1 }, retryable: true }],
    [
      '{"id":"a","progress":{"done":1,"total":10,"name":"pages"},"spent":{"tokens":5}}',
      { id: 'a', progress: { done: 1, total: 10, name: 'pages' }, spent: { tokens: 5 }, retryable: true },
    ],
  ])('is understood: %s', (line, answer) => {
    expect(parseAnswer(line)).toEqual(answer);
  });

  it.each([
    ['{"id":"a"', 'no JSON'],
    ['{"output":1}', '"id"'],
    ['{"id":7,"output":1}', '"id"'],
    [`{"id":"${'x'.repeat(200)}","output":1}`, '"id"'],
    ['{"id":"a"}', 'none of'],
    ['{"id":"a","output":1,"error":"no"}', 'an "output" and an "error"'],
    ['{"id":"a","error":7}', '"error"'],
    ['{"id":"a","error":"no","retryable":"yes"}', '"retryable"'],
    ['{"id":"a","progress":7}', '"progress"'],
    ['{"id":"a","progress":{"done":-1}}', '"progress"'],
    ['{"id":"a","progress":{"done":1,"total":"many"}}', '"progress"'],
    ['{"id":"a","spent":{"tokens":1.5}}', '"spent"'],
    ['{"id":"a","spent":5}', '"spent"'],
  ])('that is none is told what it lacks: %s', (line, problem) => {
    expect(parseAnswer(line)).toContain(problem);
  });
});

it('a task is one line, whatever it holds', () => {
  const line = taskLine(taskOf('t', { input: { text: 'a\nb' }, left: { tokens: 5 } }).task);
  expect(line.indexOf('\n')).toBe(line.length - 1);
  expect(JSON.parse(line)).toEqual({
    id: 't',
    capability: 'resize',
    input: { text: 'a\nb' },
    attempt: 1,
    labels: {},
    granted: { slots: 1 },
    budgets: { tokens: 5 },
    deadline_seconds: null,
  });
  const bytes = JSON.parse(taskLine(taskOf('t', { input: Uint8Array.of(1, 2), timeLeftMs: 1_500 }).task));
  expect(bytes).toMatchObject({ input_base64: 'AQI=', deadline_seconds: 1.5 });
});
