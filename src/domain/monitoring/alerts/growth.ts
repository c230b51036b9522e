import type { Moment } from './metric-rules.ts';

/** Lowest values of steps of the window, oldest first. */
interface Step {
  fromMs: number;
  lowest: number;
}

const STEPS = 30;

/** By how much counts grew within a window that moves, as far as this replica has looked on. */
export class GrowthWindows {
  readonly #windows = new Map<string, Step[]>();

  of(key: string, value: number | undefined, windowMs: number, { monoMs }: Moment): number | undefined {
    if (value === undefined) return undefined;
    const steps = this.#windows.get(key) ?? [];
    this.#windows.set(key, steps);
    const last = steps.at(-1);
    if (last === undefined || monoMs - last.fromMs >= windowMs / STEPS)
      steps.push({ fromMs: monoMs, lowest: value });
    else last.lowest = Math.min(last.lowest, value);
    while ((steps[0]?.fromMs ?? monoMs) < monoMs - windowMs) steps.shift();
    let lowest = value;
    for (const step of steps) lowest = Math.min(lowest, step.lowest);
    return value - lowest;
  }
}
