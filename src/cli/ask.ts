import { createInterface } from 'node:readline/promises';
import type { Context } from './context.ts';
import { exitCodes, UsageError } from './errors.ts';
import { escapeText } from './output/escape.ts';
import { plain } from './output/text.ts';

/**
 * Asks "<question>? [y/N]" on the terminal, unless `yes`. Resolves to undefined for a yes, else to the exit code to end
 * with. Throws UsageError where there is nobody to ask.
 */
export async function refusal(
  context: Context,
  yes: boolean | undefined,
  doing: string,
  question: () => Promise<string> | string,
): Promise<number | undefined> {
  if (yes === true) return undefined;
  if (context.io.stdin.isTTY !== true) {
    throw new UsageError(`not on a terminal, so nobody can be asked: add --yes to ${doing}`);
  }
  if (await confirm(context, `${await question()}? [y/N] `)) return undefined;
  context.note([plain('left as it is')]);
  return context.signal.aborted ? exitCodes.interrupted : exitCodes.failed;
}

/** Anything but y or yes is a no. */
async function confirm({ io, signal }: Context, question: string): Promise<boolean> {
  const prompt = createInterface({ input: io.stdin, output: io.stderr });
  try {
    const answer = await prompt.question(escapeText(question), { signal });
    return /^y(es)?$/i.test(answer.trim());
  } catch {
    return false;
  } finally {
    prompt.close();
  }
}
