import { readdirSync, readFileSync } from 'node:fs';

/** CPU time that a process used so far in all its threads, microseconds. From schedstat: nanosecond resolution. */
export function cpuUs(pid: number): number {
  let total = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    try {
      total += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]) / 1000;
    } catch {
      // The thread ended between the listing and the read; servers under test keep their threads.
    }
  }
  return total;
}

/** Resident memory in bytes. */
export const rssBytes = (pid: number): number => memoryBytes(pid, 'VmRSS');

/** The most resident memory that it ever had, in bytes. */
export const peakRssBytes = (pid: number): number => memoryBytes(pid, 'VmHWM');

function memoryBytes(pid: number, field: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kilobytes = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
  if (kilobytes === undefined) throw new Error(`process ${pid} has no resident memory`);
  return Number(kilobytes) * 1024;
}

/** The soft limit of open files of this process; child processes inherit it. */
export function openFileLimit(): number {
  const limit = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return limit === undefined || limit === 'unlimited' ? Number.POSITIVE_INFINITY : Number(limit);
}
