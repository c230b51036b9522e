import { Transform, type TransformCallback } from 'node:stream';
import type { JsonValue } from '@bufbuild/protobuf';
import type { AgentTask } from '../client/index.ts';

/** Of one line of the program, bytes. */
export const maxLineBytes = 64 * 1024;

/** What a program says of a task that it has. */
export interface TaskAnswer {
  id: string;
  /** Present: done. */
  output?: JsonValue;
  /** Present: failed. */
  error?: string;
  retryable: boolean;
  progress?: { done: number; total?: number; name?: string };
  /** So much more. */
  spent?: Record<string, number>;
}

const newline = 0x0a;
const brace = 0x7b;
/** Enough to see whose line it is. */
const headBytes = 256;
const maxIdChars = 128;

/**
 * Takes lines that begin with "{" out of a program's output; what else it writes passes on. A line without end costs no more
 * than the longest that is taken.
 */
export function answerFilter(on: {
  line: (text: string) => void;
  /** A line of more than `maxLineBytes`; how it begins. */
  tooLong: (head: string) => void;
}): Transform {
  let rest: Buffer[] = [];
  let size = 0;
  /** What becomes of the rest of a line that is not kept. */
  let tail: 'pass' | 'drop' | undefined;
  const end = (filter: Transform, last: Buffer, ended: boolean): void => {
    if (tail !== undefined) {
      if (tail === 'pass') filter.push(ended ? Buffer.concat([last, Buffer.of(newline)]) : last);
    } else {
      const line = Buffer.concat([...rest, last]);
      if (!isAnswer(line)) filter.push(ended ? Buffer.concat([line, Buffer.of(newline)]) : line);
      else if (line.length > maxLineBytes) on.tooLong(headOf(line));
      else on.line(line.toString('utf8'));
    }
    [rest, size, tail] = [[], 0, undefined];
  };
  const keep = (filter: Transform, part: Buffer): void => {
    if (tail === 'pass') filter.push(part);
    if (tail !== undefined) return;
    rest.push(part);
    size += part.length;
    if (size <= maxLineBytes) return;
    const line = Buffer.concat(rest);
    tail = isAnswer(line) ? 'drop' : 'pass';
    if (tail === 'pass') filter.push(line);
    else on.tooLong(headOf(line));
    rest = [];
  };
  return new Transform({
    transform(bytes: Buffer, _encoding, done: TransformCallback): void {
      let from = 0;
      for (let at = bytes.indexOf(newline); at >= 0; at = bytes.indexOf(newline, from)) {
        end(this, bytes.subarray(from, at), true);
        from = at + 1;
      }
      if (from < bytes.length) keep(this, bytes.subarray(from));
      done();
    },
    flush(done: TransformCallback): void {
      if (size > 0) end(this, Buffer.alloc(0), false);
      done();
    },
  });
}

const headOf = (line: Buffer): string => line.subarray(0, headBytes).toString('utf8');

function isAnswer(line: Buffer): boolean {
  const first = line.findIndex((byte) => byte !== 0x20 && byte !== 0x09);
  return first >= 0 && line[first] === brace;
}

/** Whose line it is that begins so, if that can be seen. */
export function idOfHead(head: string): string | undefined {
  return /^\s*\{\s*"id"\s*:\s*"([^"\\]{1,128})"/.exec(head)?.[1];
}

/** Returns the answer, or in words what is wrong with it. */
export function parseAnswer(text: string): TaskAnswer | string {
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch {
    return 'it is no JSON';
  }
  if (!isObject(line)) return 'it is no JSON object';
  const { id, output, error, retryable, progress, spent } = line;
  if (typeof id !== 'string' || id === '' || id.length > maxIdChars) return 'its "id" is no task id';
  const answer: TaskAnswer = { id, retryable: retryable !== false };
  if (retryable !== undefined && typeof retryable !== 'boolean') return '"retryable" is not true or false';
  if (output !== undefined) answer.output = output as JsonValue;
  if (error !== undefined) {
    if (typeof error !== 'string') return '"error" is no text';
    if (output !== undefined) return 'it has an "output" and an "error"';
    answer.error = error;
  }
  if (progress !== undefined) {
    const counter = counterOf(progress);
    if (counter === undefined) return '"progress" is not {"done": 1, "total": 10} with whole numbers';
    answer.progress = counter;
  }
  if (spent !== undefined) {
    if (!isObject(spent) || !Object.values(spent).every(isAmount)) return '"spent" is not {"name": 1}';
    answer.spent = Object.fromEntries(Object.entries(spent)) as Record<string, number>;
  }
  const says = [output, error, progress, spent].some((part) => part !== undefined);
  return says ? answer : 'it has none of "output", "error", "progress" and "spent"';
}

function counterOf(given: unknown): TaskAnswer['progress'] | undefined {
  if (!isObject(given)) return undefined;
  const { done, total, name } = given;
  if (!isAmount(done) || (total !== undefined && !isAmount(total))) return undefined;
  if (name !== undefined && (typeof name !== 'string' || name.length > 128)) return undefined;
  return { done, ...(total !== undefined && { total }), ...(name !== undefined && { name }) };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const isAmount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

/** A task as the program gets it. Bytes are told in base64. */
export function taskLine(task: AgentTask): string {
  const { id, capability, input, attempt, labels, granted, left, timeLeftMs } = task;
  const bytes = input instanceof Uint8Array;
  const deadline = Number.isFinite(timeLeftMs) ? Math.round(timeLeftMs) / 1_000 : null;
  return lineOf({
    id,
    capability,
    ...(bytes ? { input_base64: Buffer.from(input).toString('base64') } : { input: input ?? null }),
    attempt,
    labels,
    granted,
    budgets: left,
    deadline_seconds: deadline,
  });
}

export const lineOf = (value: object): string => `${JSON.stringify(value)}\n`;
