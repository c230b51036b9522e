import type { Readable, Writable } from 'node:stream';
import type { Style } from './output/text.ts';

/** All that the CLI knows of the world it runs in; tests give their own. */
export interface CliIo {
  /** Arguments without node and script. */
  argv: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  stdin: Readable & { isTTY?: boolean };
  stdout: Output;
  stderr: Output;
  /** Fires on Ctrl-C; called once, when a command wants to end cleanly instead of being killed. */
  interrupted(): AbortSignal;
  /** Called by a command that goes on although nobody reads what it writes any more. */
  outlivesReaders?(): void;
}

export type Output = Writable & { isTTY?: boolean; columns?: number; rows?: number };

export type ColourChoice = 'auto' | 'always' | 'never';

/** How to write for a stream: colours on terminals, unless NO_COLOR, FORCE_COLOR or --color say otherwise. */
export function styleOf(output: Output, env: CliIo['env'], choice: ColourChoice): Style {
  return {
    colour: choice === 'auto' ? wantsColour(output, env) : choice === 'always',
    columns: output.isTTY === true ? output.columns || 80 : undefined,
  };
}

function wantsColour(output: Output, env: CliIo['env']): boolean {
  if ((env.NO_COLOR ?? '') !== '') return false;
  const force = env.FORCE_COLOR ?? '';
  if (force !== '') return force !== '0' && force !== 'false';
  return output.isTTY === true && env.TERM !== 'dumb';
}
