import { describe, expect, it } from 'vitest';
import { createLogger, type LoggerOptions } from '../../src/telemetry/log.ts';

function capture(options: Partial<LoggerOptions> = {}) {
  const lines: string[] = [];
  const log = createLogger({
    level: 'debug',
    format: 'json',
    destination: { write: (line) => void lines.push(line) },
    ...options,
  });
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? '{}') as Record<string, unknown> };
}

describe('a JSON line', () => {
  it('has an ISO time, the level’s name, the fields and the message, and nothing else', () => {
    const { log, lines, last } = capture();
    log.child({ replica: 'r-1' }).info({ sessions: 3 }, 'ready');
    expect(last()).toEqual({
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      replica: 'r-1',
      sessions: 3,
      msg: 'ready',
    });
    expect(lines[0]?.endsWith('}\n')).toBe(true);
  });

  it('is written only from the configured level on', () => {
    const { log, lines } = capture({ level: 'warn' });
    log.info({}, 'no');
    log.child({ a: 1 }).debug({}, 'no');
    log.warn({}, 'yes');
    expect(lines).toHaveLength(1);
  });

  it('never holds a token or password, wherever it stands', () => {
    const { log, lines } = capture();
    const secret = 'hunter2';
    log.info({ token: secret, agent_token: secret, authorization: secret, password: secret }, 'top');
    log.info({ request: { agentToken: secret, headers: { authorization: `Bearer ${secret}` } } }, 'nested');
    log.child({ token: secret }).info({ a: { b: { c: { password: secret } } } }, 'deep');
    log.info({ url: `redis://user:${secret}@host:1/0` }, `cannot reach rediss://:${secret}@host`);
    log.error(
      { err: new Error(`AUTH failed for redis://${secret}@h`) },
      `sent authorization: Bearer ${secret}`,
    );
    expect(lines).toHaveLength(5);
    expect(lines.join('')).not.toContain(secret);
    expect(lines[3]).toContain('redis://***@host:1/0');
  });

  it('tells an error with its causes, but not what a driver hung on it', () => {
    const { log, last } = capture();
    const cause = Object.assign(new TypeError('inner'), {
      code: 'ECONNREFUSED',
      command: { args: ['AUTH', 'hunter2'] },
    });
    const error = new Error('outer', { cause });
    log.error({ err: error }, 'failed');
    expect(last()).toMatchObject({
      err: {
        type: 'Error',
        message: 'outer',
        stack: expect.stringContaining('log.test.ts'),
        cause: { type: 'TypeError', message: 'inner', code: 'ECONNREFUSED' },
      },
    });
    expect(JSON.stringify(last())).not.toContain('hunter2');
  });

  it('stays bounded for endless errors and causes that go in circles', () => {
    const { log, lines } = capture();
    const error: Error & { cause?: unknown } = new Error('x'.repeat(1_000_000));
    error.cause = error;
    log.error({ err: error }, 'failed');
    log.error({ err: 'just text' }, 'failed');
    expect(lines[0]?.length).toBeLessThan(60_000);
    expect(JSON.parse(lines[1] ?? '')).toMatchObject({ err: 'just text' });
  });
});

describe('a pretty line', () => {
  it('is one line for people, with the frames of an error below it', () => {
    const { log, lines } = capture({ format: 'pretty', colours: false });
    log.info({ sessions: 3, peer: '[::1]:5', note: 'two words', list: [1] }, 'ready');
    log.warn({ err: new RangeError('too far') }, 'odd');
    expect(lines[0]).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3} INFO {2}ready sessions=3 peer="\[::1\]:5" note="two words" list=\[1\]\n$/,
    );
    expect(lines[1]).toMatch(/^[\d:.]+ WARN {2}odd err="RangeError: too far"\n {4}at /);
  });

  it('cannot steer the terminal, nor fake a line', () => {
    const { log, lines } = capture({ format: 'pretty', colours: false });
    const hostile = '\u001b]0;owned\u0007\u009b31m\nFAKE';
    log.info({ [hostile]: hostile, err: new Error(hostile) }, hostile);
    const [first = ''] = lines;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    expect(first.replaceAll('\n', '')).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
    expect(first.split('\n').filter((line) => line.startsWith('FAKE'))).toEqual([]);
  });

  it('has colours only when asked for', () => {
    const { log, lines } = capture({ format: 'pretty', colours: true });
    log.error({}, 'red');
    expect(lines[0]).toContain('\u001b[31mERROR\u001b[0m');
  });
});
