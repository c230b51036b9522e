/** Waits for conditions that no event announces: polls at a short, fixed pace and gives up with what it saw last. */
export interface UntilOptions {
  /** Default 10 s. */
  timeoutMs?: number;
  /** Default 20 ms. */
  everyMs?: number;
  /** What was awaited, for the failure's message. */
  what?: string;
}

/** Resolves with the first value of `probe` that `accept` takes. An exception of `probe` counts as "not yet". */
export async function until<T>(
  probe: () => Promise<T> | T,
  accept: (value: T) => boolean,
  options: UntilOptions = {},
): Promise<T> {
  const deadline = performance.now() + (options.timeoutMs ?? 10_000);
  let last: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (accept(value)) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`timed out waiting for ${options.what ?? 'a condition'}; last seen: ${show(last)}`);
    }
    await pause(options.everyMs ?? 20);
  }
}

/** Resolves after `ms`: for paces and for proving that something does not happen, never as a wait for an event. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Rejects if `promise` takes longer. */
export async function within<T>(promise: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function show(value: unknown): string {
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  return JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? `${part}` : part))?.slice(
    0,
    2000,
  );
}
