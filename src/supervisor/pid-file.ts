import { rmSync, writeFileSync } from 'node:fs';
import { isObject, jsonObject, readSmall, replaceFile } from './files.ts';
import type { Hold } from './keeper.ts';
import { startOf } from './process-table.ts';

/** A process that cannot be mistaken for a later one with the same id. */
interface ProcessMark {
  pid: number;
  /** When it started, as the system tells it. */
  start: string;
}

/** What a supervisor that ended without a goodbye left behind. */
export interface LeftBehind {
  /** The program still runs under this process id. */
  pid: number | undefined;
  hold: Hold | undefined;
}

/** Another supervisor runs the program. */
export class AlreadySupervised extends Error {
  override readonly name = 'AlreadySupervised';
}

const holds: ReadonlySet<unknown> = new Set<Hold>(['drain', 'quarantine', 'dependency']);

/**
 * Says on disk which processes the supervisor and its program are, so that the next supervisor finds a program that
 * outlived this one, and so that two do not run it at once.
 */
export class PidFile {
  readonly #path: string;
  #own: ProcessMark = { pid: process.pid, start: '' };
  #writing: Promise<void> = Promise.resolve();
  #released = false;

  constructor(path: string) {
    this.#path = path;
  }

  /** Takes the file. Rejects with AlreadySupervised, or with what is wrong with the file. */
  async claim(): Promise<LeftBehind> {
    this.#own = { pid: process.pid, start: (await startOf(process.pid)) ?? '' };
    const text = this.#text(undefined, undefined);
    try {
      writeFileSync(this.#path, text, { flag: 'wx', mode: 0o600 });
      return { pid: undefined, hold: undefined };
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
    const before = jsonObject(readSmall(this.#path) ?? '');
    if (before === undefined || !isObject(before.supervisor)) {
      throw new Error(`${this.#path} is not a supervisor's: use another file, or remove it`);
    }
    const supervisor = await alive(before.supervisor);
    if (supervisor !== undefined && supervisor !== process.pid) {
      throw new AlreadySupervised(`${this.#path} is of a supervisor that runs (pid ${supervisor})`);
    }
    const hold = holds.has(before.hold) ? (before.hold as Hold) : undefined;
    const left = { pid: await alive(before.program), hold };
    // The program's mark stays until it was dealt with: this supervisor may be killed too.
    replaceFile(this.#path, this.#text(before.program, hold));
    return left;
  }

  /** Notes what runs now. Never rejects: `warn` is told. */
  note(pid: number, hold: Hold | undefined, warn: (error: unknown) => void): void {
    this.#writing = this.#writing.then(async () => {
      try {
        const start = pid === 0 ? undefined : await startOf(pid);
        if (this.#released) return;
        replaceFile(this.#path, this.#text(start === undefined ? undefined : { pid, start }, hold));
      } catch (error) {
        warn(error);
      }
    });
  }

  /** Nothing runs any more. */
  async release(): Promise<void> {
    this.#released = true;
    await this.#writing;
    rmSync(this.#path, { force: true });
  }

  #text(program: unknown, hold: Hold | undefined): string {
    return `${JSON.stringify({ supervisor: this.#own, program, hold })}\n`;
  }
}

/** The id of a process that was marked, if that very process still runs. */
async function alive(mark: unknown): Promise<number | undefined> {
  if (!isObject(mark) || typeof mark.pid !== 'number' || !Number.isSafeInteger(mark.pid) || mark.pid <= 1) {
    return undefined;
  }
  const start = await startOf(mark.pid);
  return start !== undefined && start === mark.start ? mark.pid : undefined;
}
