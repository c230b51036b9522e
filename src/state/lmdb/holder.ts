import { readFileSync } from 'node:fs';

/** The process that has an environment open, as written inside it. */
export interface Holder {
  pid: number;
  /** Tells two processes that got the same pid apart; empty where the platform does not say. */
  started: string;
}

/** Boot and start time of a process, from /proc; undefined when there is no such process or no /proc. */
function startOf(pid: number): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command in parentheses and may hold spaces; field 22 is the start time (proc(5)).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : `${boot}/${fields[19]}`;
  } catch {
    return undefined;
  }
}

export const thisProcess = (): Holder => ({ pid: process.pid, started: startOf(process.pid) ?? '' });

/** Whether the holder still runs. A process that was killed, also with SIGKILL, does not hold anything. */
export function isAlive(holder: Holder): boolean {
  if (holder.started !== '') return startOf(holder.pid) === holder.started;
  if (holder.pid === process.pid) return true;
  try {
    process.kill(holder.pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
