/** A place in a line. */
export interface Place {
  /** Whether it is its turn. */
  isFirst(): boolean;
  /** Resolves when it may be worth looking again: its turn came, something changed, or `untilMs` (from now) passed. */
  news(untilMs: number | undefined, signal: AbortSignal): Promise<void>;
  /** Leaves the line: the next one's turn comes. */
  leave(): void;
}

interface Waiter {
  wake: (() => void) | undefined;
  /** Something happened while nobody listened. */
  missed: boolean;
}

/** Longest sleep of a waiter: a safety net, should a change be missed. */
const LOOK_AGAIN_MS = 5000;

/** Lines of callers that wait for a lock, first come first served. */
export class WaitLines {
  readonly #lines = new Map<string, Waiter[]>();
  #total = 0;

  /** Callers that wait, in all lines. */
  get total(): number {
    return this.#total;
  }

  length(key: string): number {
    return this.#lines.get(key)?.length ?? 0;
  }

  join(key: string): Place {
    const line = this.#lines.get(key) ?? [];
    this.#lines.set(key, line);
    const waiter: Waiter = { wake: undefined, missed: false };
    line.push(waiter);
    this.#total += 1;
    return {
      isFirst: () => line[0] === waiter,
      news: (untilMs, signal) => sleep(waiter, untilMs, signal),
      leave: () => {
        const at = line.indexOf(waiter);
        if (at < 0) return;
        line.splice(at, 1);
        this.#total -= 1;
        if (line.length === 0) this.#lines.delete(key);
        else if (at === 0) rouse(line[0]);
      },
    };
  }

  /** Something changed: the first in the line looks again. */
  changed(key: string): void {
    rouse(this.#lines.get(key)?.[0]);
  }
}

function rouse(waiter: Waiter | undefined): void {
  if (waiter === undefined) return;
  waiter.missed = true;
  waiter.wake?.();
}

async function sleep(waiter: Waiter, untilMs: number | undefined, signal: AbortSignal): Promise<void> {
  if (!waiter.missed && !signal.aborted) {
    await new Promise<void>((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        waiter.wake = undefined;
        resolve();
      };
      const timer = setTimeout(end, Math.max(1, Math.min(LOOK_AGAIN_MS, untilMs ?? LOOK_AGAIN_MS)));
      signal.addEventListener('abort', end, { once: true });
      waiter.wake = end;
    });
  }
  waiter.missed = false;
}
