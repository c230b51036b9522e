import type { Clock } from '../lib/clock.ts';
import { memoryBytes, type ProcessRow, readProcesses } from './process-table.ts';

/** What a process tree uses. */
export interface Usage {
  /** Thousandths of one CPU since the reading before, or since the start. */
  cpuMilli: number;
  memoryBytes: number;
  processes: number;
}

/** Memory of more processes than this is not asked for one by one. */
const maxMembers = 1_024;
/** Readings move by less than this for nothing: a report is sent when it changed. */
const memoryStep = 64 * 1024;

/**
 * A program and all that it started: its descendants, and whoever is still in its session or process group after the
 * process between has ended. A daemon that made a session of its own and lost its parent is not found.
 */
export function treeOf(rows: readonly ProcessRow[], root: number): ProcessRow[] {
  const children = new Map<number, ProcessRow[]>();
  const found = new Map<number, ProcessRow>();
  for (const row of rows) {
    const siblings = children.get(row.parent);
    if (siblings === undefined) children.set(row.parent, [row]);
    else siblings.push(row);
    if (row.pid === root || row.session === root || row.group === root) found.set(row.pid, row);
  }
  // A map can grow while it is walked: each new member's children come later in the same walk.
  for (const member of found.values()) {
    for (const child of children.get(member.pid) ?? []) found.set(child.pid, child);
  }
  return [...found.values()];
}

/** Reads what one process tree uses, again and again. */
export class UsageMeter {
  readonly #root: number;
  readonly #clock: Clock;
  readonly #read: () => Promise<ProcessRow[]>;
  readonly #memory: (pid: number) => number;
  #before: { atMs: number; cpuMs: number };

  /** Made when the program starts. */
  constructor(options: {
    /** The program's process, leader of its session. */
    root: number;
    clock: Clock;
    read?: () => Promise<ProcessRow[]>;
    memory?: (pid: number) => number;
  }) {
    this.#root = options.root;
    this.#clock = options.clock;
    this.#read = options.read ?? readProcesses;
    this.#memory = options.memory ?? memoryBytes;
    this.#before = { atMs: options.clock.monoMs(), cpuMs: 0 };
  }

  /** Undefined if nothing of the tree is there. */
  async read(): Promise<Usage | undefined> {
    const tree = treeOf(await this.#read(), this.#root);
    const atMs = this.#clock.monoMs();
    if (tree.length === 0) return undefined;
    let bytes = 0;
    for (const row of tree.slice(0, maxMembers)) bytes += row.residentBytes ?? this.#memory(row.pid);
    const cpuMs = tree.reduce((sum, row) => sum + row.cpuMs, 0);
    const before = this.#before;
    this.#before = { atMs, cpuMs };
    const overMs = Math.max(1, atMs - before.atMs);
    return {
      // A process that nobody of the tree waited for takes its time with it: that is no negative use.
      cpuMilli: Math.round((Math.max(0, cpuMs - before.cpuMs) / overMs) * 1_000),
      memoryBytes: Math.round(bytes / memoryStep) * memoryStep,
      processes: tree.length,
    };
  }
}
