import type { Keeper } from './keeper.ts';

/** Passed on to the program as they are. */
const passed = ['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGQUIT'] as const;
/** End the program, then the supervisor. */
const ending = ['SIGTERM', 'SIGINT'] as const;

/** Signals to the supervisor are for its program. */
export function superviseSignals(options: {
  keeper: Pick<Keeper, 'signal' | 'stop' | 'kill'>;
  stopTimeoutMs: number;
  /** The terminal's end (SIGHUP) ends the supervisor too: it would be left without anybody to stop it. */
  onTerminal: boolean;
  note: (text: string) => void;
  /** A second signal: no goodbye is waited for. */
  hurry: () => void;
}): { release: () => void; said: () => NodeJS.Signals | undefined } {
  const { keeper, stopTimeoutMs, note } = options;
  let first: NodeJS.Signals | undefined;
  const end = (signal: NodeJS.Signals) => {
    if (first !== undefined) {
      note(`is killed (a second ${signal})`);
      keeper.kill();
      options.hurry();
      return;
    }
    first = signal;
    note(`is ended (${signal})`);
    void keeper.stop({ signal, timeoutMs: stopTimeoutMs });
  };
  const handlers = new Map<NodeJS.Signals, (signal: NodeJS.Signals) => void>();
  for (const signal of passed) handlers.set(signal, () => void keeper.signal(signal));
  for (const signal of ending) handlers.set(signal, end);
  if (options.onTerminal) handlers.set('SIGHUP', end);
  // Whatever ends this process, its program does not run on without anybody who knows of it.
  const gone = () => keeper.kill();
  for (const [signal, handler] of handlers) process.on(signal, handler);
  process.on('exit', gone);
  return {
    said: () => first,
    release: () => {
      for (const [signal, handler] of handlers) process.off(signal, handler);
      process.off('exit', gone);
    },
  };
}
