import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Context } from '../context.ts';
import { CommandError, exitCodes } from '../errors.ts';
import { giveBack, keepLock, type LockWish, takeLock } from '../lock-keeper.ts';
import { bad, dim, plain, strong } from '../output/text.ts';

export interface RunUnderLock extends LockWish {
  command: readonly string[];
  /** Between SIGTERM and SIGKILL. */
  killAfterMs: number;
}

/** Runs a command while a lock is held. Resolves to its exit code; 4 when the lock was lost under it. */
export async function runUnderLock(context: Context, options: RunUnderLock): Promise<number> {
  const { name, command, killAfterMs } = options;
  const grant = await takeLock(context, options);
  const over = new AbortController();
  let lost: string | undefined;
  try {
    context.note([dim('holds '), strong(name), dim(` with fencing token ${grant.token}`)]);
    const child = await start(context, command, grant.token);
    const ended = exitOf(child);
    const ask = (): void => {
      if (!child.kill('SIGTERM')) return;
      const timer = setTimeout(() => child.kill('SIGKILL'), killAfterMs);
      void ended.then(() => clearTimeout(timer));
    };
    context.signal.addEventListener('abort', ask, { once: true });
    if (context.signal.aborted) ask();
    const keeping = keepLock(context, options, grant, over.signal).then((why) => {
      lost = why;
      if (why === undefined) return;
      context.note([bad('lost '), strong(name), plain(`: ${why}; ends the command`)]);
      ask();
    });
    const code = await ended;
    over.abort();
    await keeping;
    context.signal.removeEventListener('abort', ask);
    return lost === undefined ? code : exitCodes.conflict;
  } finally {
    over.abort();
    if (lost === undefined) await giveBack(context, name, grant);
  }
}

function start(
  { io }: Context,
  [file = '', ...args]: readonly string[],
  token: bigint,
): Promise<ChildProcess> {
  const env = { ...io.env, ORCHESTRATOR_FENCING_TOKEN: `${token}` };
  const child = spawn(file, args, { stdio: 'inherit', env });
  return new Promise((resolve, reject) => {
    child.once('spawn', () => resolve(child));
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(new CommandError(`cannot run ${file}: ${error.code ?? error.message}`, { cause: error })),
    );
  });
}

/** As a shell tells it: 128 + n for signal n. */
function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
}
