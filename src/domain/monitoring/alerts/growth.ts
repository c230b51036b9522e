import type { Moment } from './metric-rules.ts';

/** Lowest values of steps of the window, oldest first. */
interface Step {
  fromMs: number;
  lowest: number;
}

const STEPS = 30;
const TIDY_MS = 60_000;

/** By how much counts grew within a window that moves, as far as this replica has looked on. */
export class GrowthWindows {
  readonly #windows = new Map<string, { steps: Step[]; untilMs: number }>();
  #tidyMs = Number.NEGATIVE_INFINITY;

  of(key: string, value: number | undefined, windowMs: number, { monoMs }: Moment): number | undefined {
    if (value === undefined) return undefined;
    const steps = this.#windows.get(key)?.steps ?? [];
    this.#windows.set(key, { steps, untilMs: monoMs + windowMs });
    this.#tidy(monoMs);
    const last = steps.at(-1);
    if (last === undefined || monoMs - last.fromMs >= windowMs / STEPS)
      steps.push({ fromMs: monoMs, lowest: value });
    else last.lowest = Math.min(last.lowest, value);
    while ((steps[0]?.fromMs ?? monoMs) < monoMs - windowMs) steps.shift();
    let lowest = value;
    for (const step of steps) lowest = Math.min(lowest, step.lowest);
    return value - lowest;
  }
  /** Windows that have seen nothing for as long as they are. */
  #tidy(monoMs: number): void {
    if (monoMs - this.#tidyMs < TIDY_MS) return;
    this.#tidyMs = monoMs;
    for (const [key, { untilMs }] of this.#windows) if (untilMs < monoMs) this.#windows.delete(key);
  }

  get size(): number {
    return this.#windows.size;
  }
}
