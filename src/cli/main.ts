#!/usr/bin/env node
import { runCli } from './cli.ts';
import { exitCodes } from './errors.ts';

/** Ctrl-C once asks the command to end; twice ends the process. Not called by `serve`, which has its own signals. */
function interrupted(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (controller.signal.aborted) process.exit(exitCodes.interrupted);
      controller.abort();
    });
  }
  return controller.signal;
}

// A reader that has enough (`orchestrator agents list | head`) is no failure.
let outlives = false;
for (const output of [process.stdout, process.stderr]) {
  output.on('error', (error: NodeJS.ErrnoException) => {
    if (!outlives) process.exit(error.code === 'EPIPE' ? exitCodes.ok : exitCodes.failed);
  });
}

process.exitCode = await runCli({
  argv: process.argv.slice(2),
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  interrupted,
  outlivesReaders: () => {
    outlives = true;
  },
});
