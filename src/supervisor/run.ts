import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex, Readable, Writable } from 'node:stream';
import type { Clock } from '../lib/clock.ts';
import { LastLines } from './last-lines.ts';
import type { RunEnd } from './policy.ts';
import { readProcesses } from './process-table.ts';

/** One life of the program. */
export interface Run {
  readonly pid: number;
  /** Resolves when the process has ended and its last lines are there. */
  readonly ended: Promise<RunEnd>;
  /** Its last lines so far. */
  lines(): string[];
  /** Sends a signal to the program's process; false if it has ended. */
  signal(signal: NodeJS.Signals): boolean;
  /** Sends a signal to all that is left in its process group; false if nothing is. */
  signalGroup(signal: NodeJS.Signals): boolean;
  /** Whether anything but zombies is left in its process group. */
  groupLives(): Promise<boolean>;
  /** Waits until what it wrote was taken, at most so long, and lets go of its pipes. False: not all of it was. */
  finish(atMostMs?: number): Promise<boolean>;
}

/** The program could not be started at all. */
export class CannotStart extends Error {
  override readonly name = 'CannotStart';
  /** As a shell tells it: 127, there is no such program; 126, it cannot be run. */
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

export interface RunOptions {
  /** The program and its arguments. */
  command: readonly string[];
  /** Where its output goes on to. */
  stdout: Writable;
  stderr: Writable;
  keepLines: number;
  /** Given the stdin of a program that takes tasks, and what its stdout goes through; without it stdin is the supervisor's. */
  tasks?: { begin: (stdin: Writable) => Duplex } | undefined;
  clock: Clock;
}

/** After its process has ended, so long is waited for its last words, where others still hold its pipes. */
const tailMs = 200;

/** Starts the program in a session and process group of its own. Rejects with CannotStart. */
export async function startRun(options: RunOptions): Promise<Run> {
  const [file = '', ...args] = options.command;
  const startedAtMs = options.clock.monoMs();
  const { tasks } = options;
  const stdin = tasks === undefined ? 'inherit' : 'pipe';
  const child = spawn(file, args, { detached: true, stdio: [stdin, 'pipe', 'pipe'] });
  const { pid } = await spawned(child, file);
  const kept = new LastLines({ size: options.keepLines });
  const filter = child.stdin === null ? undefined : tasks?.begin(child.stdin);
  // Whoever hands tasks over reads the answers: what else is said is for people.
  const [stdout, reader] =
    filter === undefined ? [child.stdout, options.stdout] : [through(child.stdout, filter), options.stderr];
  const pipes = [
    pass(stdout, reader, (bytes) => kept.feed('stdout', bytes)),
    pass(child.stderr, options.stderr, (bytes) => kept.feed('stderr', bytes)),
  ];
  const closed = Promise.all(pipes.map((pipe) => pipe.closed));
  const ended = new Promise<RunEnd>((resolve) => {
    child.once('exit', (code, signal) => {
      const ranMs = options.clock.monoMs() - startedAtMs;
      const late = pause(tailMs);
      void Promise.race([closed, late.over]).then(() => {
        late.cancel();
        resolve({ exitCode: code ?? undefined, signal: signal ?? '', ranMs });
      });
    });
  });
  return {
    pid,
    ended,
    lines: () => kept.lines(),
    signal: (signal) => child.exitCode === null && child.signalCode === null && child.kill(signal),
    signalGroup: (signal) => send(-pid, signal),
    groupLives: () => groupLives(pid),
    finish: async (atMostMs = Number.POSITIVE_INFINITY) => {
      const untilMs = options.clock.monoMs() + atMostMs;
      const waits = () => pipes.some((pipe) => pipe.waits());
      do {
        const look = pause(tailMs);
        await Promise.race([closed, look.over]);
        look.cancel();
      } while (waits() && options.clock.monoMs() < untilMs);
      const taken = !waits();
      for (const pipe of [child.stdin, child.stdout, filter, child.stderr]) pipe?.destroy();
      return taken;
    },
  };
}

/** What comes out of a filter, which ends with its source in any case. */
function through(from: Readable | null, filter: Duplex): Duplex {
  from?.on('error', () => {});
  from?.once('close', () => filter.end());
  return from?.pipe(filter) ?? filter;
}

function send(target: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(target, signal);
  } catch {
    return false; // ESRCH: nobody is there; EPERM: it is another user's by now
  }
}

function pause(ms: number): { over: Promise<void>; cancel: () => void } {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  return { over, cancel: () => clearTimeout(timer) };
}

/** How often is looked whether a process group has ended. */
const lookMs = 100;
/** What a SIGKILL cannot end in this time is left behind: it hangs in the kernel. */
const killedMs = 2_000;

/** Ends what is left in a process group, so that the next run finds its ports and files free. */
export async function clearGroup(
  group: Pick<Run, 'groupLives' | 'signalGroup'>,
  options: { clock: Clock; stopTimeoutMs: number },
): Promise<void> {
  if (!(await group.groupLives())) return;
  const begunMs = options.clock.monoMs();
  let killed = false;
  group.signalGroup('SIGTERM');
  while (await group.groupLives()) {
    const afterMs = options.clock.monoMs() - begunMs;
    if (afterMs >= options.stopTimeoutMs + killedMs) return;
    if (afterMs >= options.stopTimeoutMs && !killed) killed = group.signalGroup('SIGKILL');
    await pause(lookMs).over;
  }
}

/** A process group by its id, where it is not of a run of this process. */
export function groupOf(pid: number): Pick<Run, 'groupLives' | 'signalGroup'> {
  return { groupLives: () => groupLives(pid), signalGroup: (signal) => send(-pid, signal) };
}

/** Whether anything but zombies is in a process group. */
async function groupLives(group: number): Promise<boolean> {
  try {
    process.kill(-group, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
  const rows = await readProcesses();
  return rows.length === 0 || rows.some((row) => row.group === group && !row.zombie);
}

function spawned(child: ChildProcess, file: string): Promise<{ pid: number }> {
  return new Promise((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      const missing = error.code === 'ENOENT';
      const why = missing ? 'no such program' : error.code === 'EACCES' ? 'permission denied' : error.message;
      reject(new CannotStart(`cannot start ${file}: ${why}`, missing ? 127 : 126));
    });
    child.once('spawn', () => {
      child.on('error', () => {}); // a signal that could not be sent
      resolve({ pid: child.pid ?? 0 });
    });
  });
}

interface Pipe {
  readonly closed: Promise<void>;
  /** Whether something was read that its reader does not take yet. */
  waits(): boolean;
}

/** Passes bytes on at the reader's pace, and shows them to `see`. A reader that went away loses them. */
function pass(from: Readable | null, to: Writable, see: (bytes: Buffer) => void): Pipe {
  if (from === null) return { closed: Promise.resolve(), waits: () => false };
  const goOn = () => from.resume();
  const events = ['drain', 'error', 'close'];
  for (const event of events) to.on(event, goOn);
  from.on('data', (bytes: Buffer) => {
    see(bytes);
    if (!to.destroyed && to.writable && !to.write(bytes)) from.pause();
  });
  from.on('error', () => {});
  const closed = new Promise<void>((resolve) => {
    from.once('close', () => {
      for (const event of events) to.off(event, goOn);
      resolve();
    });
  });
  return { closed, waits: () => !from.destroyed && from.isPaused() };
}
