import { type ChildProcess, spawn } from 'node:child_process';
import { basename } from 'node:path';
import type { Writable } from 'node:stream';
import type { SinkConfig } from '../config/monitoring-config.ts';
import type { CloudEvent } from '../domain/monitoring/sinks/envelopes.ts';
import { type SinkAdapter, SinkError } from '../domain/monitoring/sinks/ports.ts';
import type { Logger } from '../lib/logger.ts';
import { Secrets } from './secrets.ts';

export interface CommandOptions {
  config: Pick<SinkConfig, 'name' | 'command'>;
  log: Logger;
  /** The service's own environment; only what `PASSED` names goes to the program. */
  env: NodeJS.ProcessEnv;
}

/** Of the environment the program has these: the service's own configuration, with its secrets, stands there too. */
const PASSED = ['PATH', 'HOME', 'USER', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR'];
/** Of each of its outputs, for the log. */
const MAX_OUTPUT_BYTES = 4096;
/** Between its end and that of its outputs. */
const OUTPUT_MS = 500;
/** Between being asked to end and being made to. */
const KILL_MS = 1000;

/** Starts a program for each alert, without a shell: the CloudEvent is on its standard input. Exit code 0: it was taken. */
export function createCommand(options: CommandOptions): SinkAdapter {
  const { config, log } = options;
  const [program = '', ...args] = config.command ?? [];
  const running = new Set<ChildProcess>();
  const env: NodeJS.ProcessEnv = {};
  for (const name of PASSED) if (options.env[name] !== undefined) env[name] = options.env[name];
  const run = (event: CloudEvent, signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      // A group of its own: what it starts is ended with it.
      const child = spawn(program, args, { stdio: 'pipe', detached: true, shell: false, env });
      const late = (): void => {
        end(child);
        settle(new SinkError({ message: `${basename(program)} did not end in time` }));
      };
      const settle = (error?: SinkError): void => {
        signal.removeEventListener('abort', late);
        if (error === undefined) resolve();
        else reject(error);
      };
      // Before anything that may throw: an error that nobody hears ends the service.
      child.on('error', (error: NodeJS.ErrnoException) => {
        running.delete(child);
        settle(
          new SinkError({ message: `${basename(program)} cannot be started: ${error.code ?? 'failed'}` }),
        );
      });
      // Without file descriptors (EMFILE, ENFILE) it has no streams, whatever their types say; the error follows.
      if ((child.stdin as Writable | undefined) === undefined) return;
      running.add(child);
      const output = [collect(child.stdout), collect(child.stderr)] as const;
      signal.addEventListener('abort', late, { once: true });
      child.on('exit', () => {
        // What it left behind may hold its outputs; what has left its group too, for ever.
        kill(child, 'SIGKILL');
        const timer = setTimeout(() => {
          child.stdout.destroy();
          child.stderr.destroy();
        }, OUTPUT_MS);
        child.once('close', () => clearTimeout(timer));
      });
      child.on('close', (code, killed) => {
        if (!running.delete(child)) return;
        const [stdout = '', stderr = ''] = output.map((read) => read());
        const fields = { sink: config.name, event_id: event.id, exit_code: code, stdout, stderr };
        if (code === 0) {
          log.debug(fields, 'an alert command ended');
          settle();
          return;
        }
        log.warn(fields, 'an alert command failed');
        const how = code === null ? `was killed by ${killed}` : `ended with code ${code}`;
        const said = NOTHING.excerpt(stderr);
        settle(new SinkError({ message: `${basename(program)} ${how}${said === '' ? '' : `: ${said}`}` }));
      });
      // It need not read what it is told.
      child.stdin.on('error', () => {});
      child.stdin.end(JSON.stringify(event));
      if (signal.aborted) late();
    });
  return {
    kind: 'command',
    target: program,
    batch: 1,
    concurrency: 2,
    resends: false,
    sendAlerts: async (notices, signal) => {
      for (const { event } of notices) await run(event, signal);
    },
    close: () => {
      for (const child of running) kill(child, 'SIGKILL');
    },
  };
}

const NOTHING = new Secrets();

function end(child: ChildProcess): void {
  kill(child, 'SIGTERM');
  const timer = setTimeout(() => kill(child, 'SIGKILL'), KILL_MS);
  timer.unref();
  child.once('exit', () => clearTimeout(timer));
}

/** The program and what it started. */
function kill(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // All of them have ended.
  }
}

/** Reads to the end, so that the program never waits for us, and keeps the beginning. */
function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => {
    if (bytes < MAX_OUTPUT_BYTES) chunks.push(chunk.subarray(0, MAX_OUTPUT_BYTES - bytes));
    bytes += chunk.length;
  });
  stream.on('error', () => {});
  return () => Buffer.concat(chunks).toString('utf8');
}
