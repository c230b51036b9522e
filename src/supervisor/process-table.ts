import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** One process as the system shows it. */
export interface ProcessRow {
  pid: number;
  parent: number;
  group: number;
  session: number;
  /** Ended, and only waiting for its parent to look. */
  zombie: boolean;
  /** CPU time of itself and of those of its children that ended and were waited for, milliseconds. */
  cpuMs: number;
  /** Resident memory, where the table has it; else it is asked for by `memoryBytes`. */
  residentBytes: number | undefined;
}

/** More processes than this are not looked at: what is left out is not counted. */
const maxProcesses = 16_384;
/** So many are read before others get their turn. */
const readAtOnce = 256;
/** USER_HZ: 100 in every Linux that Node runs on. */
const ticksPerSecond = 100;

/** All processes of this machine, or of this container. Empty where they cannot be had. */
export async function readProcesses(platform: NodeJS.Platform = process.platform): Promise<ProcessRow[]> {
  return platform === 'linux' ? await readProc() : parsePs(await runPs());
}

async function readProc(): Promise<ProcessRow[]> {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const rows: ProcessRow[] = [];
  for (const [index, pid] of pids.slice(0, maxProcesses).entries()) {
    if (index % readAtOnce === readAtOnce - 1) await new Promise((resolve) => setImmediate(resolve));
    try {
      const row = parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
      if (row !== undefined) rows.push(row);
    } catch {
      // It has ended since.
    }
  }
  return rows;
}

/** One line of /proc/<pid>/stat (proc(5)). The name may hold anything, so fields are counted after its last ")". */
export function parseStat(line: string): ProcessRow | undefined {
  const end = line.lastIndexOf(')');
  const fields = line.slice(end + 2).split(' ');
  const pid = Number.parseInt(line, 10);
  if (end < 0 || fields.length < 22 || !Number.isSafeInteger(pid)) return undefined;
  const at = (field: number): number => Number(fields[field - 3]); // fields are counted from 1, the third comes first
  return {
    pid,
    parent: at(4),
    group: at(5),
    session: at(6),
    zombie: fields[0] === 'Z' || fields[0] === 'X',
    cpuMs: ((at(14) + at(15) + at(16) + at(17)) * 1_000) / ticksPerSecond,
    residentBytes: undefined,
  };
}

/** Resident memory of one process of Linux. Its pages may be shared with others. 0 if it has ended. */
export function memoryBytes(pid: number): number {
  try {
    const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
    return Number(kib ?? 0) * 1_024;
  } catch {
    return 0;
  }
}

/** The start of a process, for telling it from a later one with the same id. Undefined if there is none. */
export async function startOf(
  pid: number,
  platform: NodeJS.Platform = process.platform,
): Promise<string | undefined> {
  try {
    if (platform !== 'linux') {
      return (await ps(['-o', 'lstart=', '-p', `${pid}`])).trim() || undefined;
    }
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    return `${boot}/${fields[19]}`;
  } catch {
    return undefined;
  }
}

const runPs = (): Promise<string> =>
  ps(['-A', '-o', 'pid=,ppid=,pgid=,sess=,stat=,rss=,time=']).catch(() => '');

function ps(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, LC_ALL: 'C' };
    execFile('ps', args, { timeout: 2_000, maxBuffer: 8 * 1024 * 1024, env }, (error, stdout) =>
      error === null ? resolve(stdout) : reject(error),
    );
  });
}

/** What `ps` prints: id, parent, group, session, state, KiB, and time as [[dd-]hh:]mm:ss[.cc]. */
export function parsePs(text: string): ProcessRow[] {
  const rows: ProcessRow[] = [];
  for (const line of text.split('\n').slice(0, maxProcesses)) {
    const [pid, parent, group, session, state = '', kib, time = ''] = line.trim().split(/\s+/);
    const numbers = [pid, parent, group, kib].map(Number);
    if (line.trim() === '' || numbers.some((value) => !Number.isSafeInteger(value))) continue;
    const [days, clock = ''] = time.includes('-') ? time.split('-') : ['0', time];
    const seconds = clock.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
    const cpuMs = (Number(days) * 86_400 + seconds) * 1_000;
    rows.push({
      pid: Number(pid),
      parent: Number(parent),
      group: Number(group),
      session: Number(session) || 0, // macOS prints 0 or an address
      zombie: state.startsWith('Z'),
      cpuMs: Number.isFinite(cpuMs) ? cpuMs : 0,
      residentBytes: Number(kib) * 1_024,
    });
  }
  return rows;
}
