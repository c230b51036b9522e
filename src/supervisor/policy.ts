/** When a program that ended by itself is started again. */
export type RestartWhen = 'always' | 'on-failure' | 'never';

export interface RestartPolicy {
  when: RestartWhen;
  backoffMinMs: number;
  backoffMaxMs: number;
  /** A run that was at least so long begins the backoff anew. */
  resetAfterMs: number;
  /** In a row; 0: no limit. */
  maxRestarts: number;
}

/** How a run ended. */
export interface RunEnd {
  /** Undefined when a signal ended it. */
  exitCode: number | undefined;
  /** Empty when it exited. */
  signal: string;
  ranMs: number;
}

export type NextRun =
  | { kind: 'again'; inMs: number; restarts: number }
  | { kind: 'done'; why: 'finished' | 'restarts_used_up' };

/** How far the backoff is spread to either side, so that a fleet that crashed together does not come back in step. */
const spread = 0.1;

/**
 * What follows a run that nobody told to end. Pure. `restarts` is how many came in a row before it. The wait is
 * backoffMin * 2^restarts, at most backoffMax, times 0.9 to 1.1.
 */
export function afterRun(
  policy: RestartPolicy,
  end: RunEnd,
  restarts: number,
  random: () => number,
): NextRun {
  const failed = end.exitCode !== 0;
  if (policy.when === 'never' || (policy.when === 'on-failure' && !failed)) {
    return { kind: 'done', why: 'finished' };
  }
  const inRow = end.ranMs >= policy.resetAfterMs ? 0 : restarts;
  if (policy.maxRestarts > 0 && inRow >= policy.maxRestarts) {
    return { kind: 'done', why: 'restarts_used_up' };
  }
  const fullMs = Math.min(policy.backoffMaxMs, policy.backoffMinMs * 2 ** Math.min(inRow, 40));
  return { kind: 'again', inMs: fullMs * (1 - spread + 2 * spread * random()), restarts: inRow + 1 };
}

const signalNumbers: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
};

/** The exit code that stands for a run's end, as shells tell it: 128 and the signal's number. */
export function exitCodeOf(end: Pick<RunEnd, 'exitCode' | 'signal'>): number {
  return end.exitCode ?? 128 + (signalNumbers[end.signal] ?? 0);
}

/** The end in words: "exit code 3", "SIGKILL". */
export function endWords(end: Pick<RunEnd, 'exitCode' | 'signal'>): string {
  return end.exitCode === undefined ? end.signal : `exit code ${end.exitCode}`;
}
