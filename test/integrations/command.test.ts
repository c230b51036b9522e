import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { noticeOf } from '../../src/domain/monitoring/sinks/envelopes.ts';
import { createCommand } from '../../src/integrations/command.ts';
import { createLogSink } from '../../src/integrations/log.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { resolvedAlert, sampleAlert } from '../support/sample-alert.ts';
import { gone } from '../support/supervised.ts';
import { until, within } from '../support/until.ts';

vi.mock('node:child_process', { spy: true });

let folder = '';
const closing: (() => unknown)[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sink-command-'));
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await rm(folder, { recursive: true });
});

interface Line {
  level: string;
  fields: Record<string, unknown>;
  message: string;
}

function listeningLogger() {
  const lines: Line[] = [];
  const at = (level: string) => (fields: object, message: string) =>
    void lines.push({ level, fields: { ...fields }, message });
  const log = { ...silentLogger, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  return { log, lines };
}

/** A program of a few lines of JavaScript. */
async function program(script: string) {
  const file = join(folder, 'program.cjs');
  await writeFile(file, script);
  const { log, lines } = listeningLogger();
  const config = { name: 'pager', command: [process.execPath, file, 'a b; $(touch x)'] };
  const env = { PATH: process.env.PATH, ORCHESTRATOR_STORE: 'redis://:secret@host' };
  const sink = createCommand({ config, log, env });
  closing.push(() => sink.close());
  const send = (signal = AbortSignal.timeout(10_000)) =>
    within(
      sink.sendAlerts([noticeOf(sampleAlert({ summary: '<b>\u0000"$(id)"' }), 'firing')], signal),
      12_000,
      'it',
    );
  return { sink, send, lines, path: (name: string) => join(folder, name) };
}

describe('a command', () => {
  it('has the CloudEvent on its standard input, its arguments as they are, and none of our environment', async () => {
    const { send, path } = await program(`
      const text = require('node:fs').readFileSync(0, 'utf8');
      require('node:fs').writeFileSync(${JSON.stringify(join(folder, 'out'))},
        JSON.stringify({ text, args: process.argv.slice(2), env: Object.keys(process.env) }));`);
    await send();
    const { text, args, env } = JSON.parse(await readFile(path('out'), 'utf8'));
    expect(JSON.parse(text)).toMatchObject({ id: 'alert-1/firing', data: { summary: '<b>\u0000"$(id)"' } });
    expect(args).toEqual(['a b; $(touch x)']);
    expect(env).toEqual(['PATH']);
  });

  it('that fails is told with its code and the beginning of what it said, in the log too', async () => {
    const { send, lines } = await program(`
      process.stdout.write('x'.repeat(1 << 20), () => { process.stderr.write('no\\nroute', () => process.exit(3)); });`);
    await expect(send()).rejects.toMatchObject({ message: 'node ended with code 3: no route' });
    const [line] = lines;
    expect(line).toMatchObject({
      level: 'warn',
      fields: { sink: 'pager', exit_code: 3, stderr: 'no\nroute' },
    });
    expect(`${line?.fields.stdout}`).toHaveLength(4096);
  });

  it('need not read what it is told', async () => {
    const { send } = await program('process.stdin.destroy(); process.exit(0);');
    await send();
  });

  it('that cannot be started is said to', async () => {
    const config = { name: 'pager', command: [join(folder, 'missing')] };
    const sink = createCommand({ config, log: silentLogger, env: {} });
    await expect(
      sink.sendAlerts([noticeOf(sampleAlert(), 'firing')], AbortSignal.timeout(5000)),
    ).rejects.toMatchObject({ message: 'missing cannot be started: ENOENT' });
  });

  it('that cannot be started as there are no file descriptors left is said to, and nothing else ends', async () => {
    const { send } = await program('');
    vi.mocked(spawn).mockImplementationOnce(() => {
      // As Node.js does it: no process, no streams, and the error afterwards.
      const child = new EventEmitter() as ChildProcess;
      process.nextTick(() =>
        child.emit('error', Object.assign(new Error('spawn EMFILE'), { code: 'EMFILE' })),
      );
      return child;
    });
    await expect(send()).rejects.toMatchObject({ message: 'node cannot be started: EMFILE' });
    await send();
  });

  it('is killed with what it started when its time is over, although it ignores being asked', async () => {
    const { send, path } = await program(`
      process.on('SIGTERM', () => {});
      const child = require('node:child_process').spawn(process.execPath,
        ['-e', 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)'], { stdio: 'inherit' });
      require('node:fs').writeFileSync(${JSON.stringify(join(folder, 'pids'))}, process.pid + ' ' + child.pid);
      setInterval(() => {}, 1000);`);
    const controller = new AbortController();
    const sent = send(controller.signal);
    const failed = expect(sent).rejects.toMatchObject({ message: 'node did not end in time' });
    const pids = await until(
      async () => (await readFile(path('pids'), 'utf8')).split(' ').map(Number),
      (found) => found.length === 2,
    );
    controller.abort();
    await failed;
    for (const pid of pids) await gone(pid);
  });

  it('that ends leaves nothing behind', async () => {
    const { send, path } = await program(`
      const child = require('node:child_process').spawn(process.execPath,
        ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });
      require('node:fs').writeFileSync(${JSON.stringify(join(folder, 'pid'))}, String(child.pid));
      process.exit(0);`);
    await send();
    await gone(Number(await readFile(path('pid'), 'utf8')));
  });

  it('is killed when the service ends', async () => {
    const { sink, send, path } = await program(`
      require('node:fs').writeFileSync(${JSON.stringify(join(folder, 'pid'))}, String(process.pid));
      setInterval(() => {}, 1000);`);
    const sent = send().catch((error: Error) => error);
    const pid = await until(async () => Number(await readFile(path('pid'), 'utf8')), Boolean);
    sink.close();
    await gone(pid);
    expect(await sent).toMatchObject({ message: 'node was killed by SIGKILL' });
  });
});

describe('the log', () => {
  it('has a line for each alert, which is a warning while it fires, and never an error of the service', async () => {
    const { log, lines } = listeningLogger();
    const sink = createLogSink({ log });
    await sink.sendAlerts(
      [noticeOf(sampleAlert(), 'firing'), noticeOf(resolvedAlert(), 'resolved')],
      AbortSignal.timeout(1000),
    );
    expect(lines.map(({ level, message }) => [level, message])).toEqual([
      ['warn', 'alert agent_lost firing: agent a1 is lost'],
      ['info', 'alert agent_lost resolved: agent a1 is lost'],
    ]);
    expect(lines[0]?.fields).toMatchObject({ alert: 'alert-1', severity: 'critical', namespace: 'default' });
  });
});
