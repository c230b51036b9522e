import type { CliIo } from '../io.ts';

/** Alternate buffer, no cursor, no wrapping of long lines. */
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J';
const LEAVE = '\x1b[?7h\x1b[?25h\x1b[?1049l';
/** Terminals that know it show a frame at once (synchronized output); others ignore it. */
const BEGIN = '\x1b[?2026h\x1b[H';
const END = '\x1b[?2026l';
/** Before the text: after it, it would take the last character of a line as wide as the terminal. */
const CLEAR_LINE = '\x1b[2K';
const CLEAR_BELOW = '\x1b[J';

export interface ScreenOptions {
  io: Pick<CliIo, 'stdin' | 'stdout'>;
  onInput(text: string): void;
  onResize(): void;
}

export interface Screen {
  readonly columns: number;
  readonly rows: number;
  draw(lines: readonly string[]): void;
  /** The next frame is sent as a whole: something else wrote on the terminal. */
  spoilt(): void;
  /** Gives the terminal back until the shell brings this process to the front again. */
  suspend(): void;
  /** Gives the terminal back as it was. Idempotent. */
  close(): void;
}

/** Takes the whole terminal, and gives it back however the process ends short of SIGKILL. */
export function openScreen({ io, onInput, onResize }: ScreenOptions): Screen {
  const { stdin, stdout } = io;
  let open = false;
  let last: readonly string[] = [];
  const raw = (on: boolean): void => {
    if ('setRawMode' in stdin && typeof stdin.setRawMode === 'function') stdin.setRawMode(on);
  };
  const read = (chunk: Buffer | string): void => onInput(chunk.toString());
  const resized = (): void => {
    last = [];
    onResize();
  };
  const enter = (): void => {
    if (open) return;
    open = true;
    last = [];
    raw(true);
    stdin.resume();
    stdout.write(ENTER);
  };
  const leave = (): void => {
    if (!open) return;
    open = false;
    stdout.write(LEAVE);
    raw(false);
    stdin.pause();
  };
  const back = (): void => {
    enter();
    onResize();
  };
  stdin.on('data', read);
  stdout.on('resize', resized);
  process.on('SIGCONT', back);
  // A crash and process.exit leave no other chance.
  process.on('exit', leave);
  enter();
  return {
    get columns() {
      return stdout.columns || 80;
    },
    get rows() {
      return stdout.rows || 24;
    },
    draw(lines) {
      if (!open) return;
      // Lines that stand there already are not sent again: over a slow line that is most of it.
      let frame = BEGIN;
      for (const [at, line] of lines.entries()) {
        if (last[at] === line) continue;
        frame += `\x1b[${at + 1};1H${CLEAR_LINE}${line}`;
      }
      if (lines.length < last.length) frame += `\x1b[${lines.length + 1};1H${CLEAR_BELOW}`;
      last = [...lines];
      stdout.write(frame + END);
    },
    spoilt() {
      last = [];
    },
    suspend() {
      leave();
      process.kill(process.pid, 'SIGTSTP');
    },
    close() {
      leave();
      stdin.off('data', read);
      stdout.off('resize', resized);
      process.off('SIGCONT', back);
      process.off('exit', leave);
    },
  };
}
