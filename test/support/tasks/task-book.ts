import type { Expected } from './ledger-checker.ts';
import { type Amounts, sum } from './tally.ts';

/** What callers and agents were told of tasks, and what of that must not be. */
export class TaskBook {
  readonly faults: string[] = [];
  /** How often what happened: for people. */
  readonly counts: Record<string, number> = {};
  readonly #submitted = new Map<string, string>();
  readonly #successes = new Map<string, { output: string; stored: boolean }[]>();
  /** The most that was acknowledged for each attempt. */
  readonly #spent = new Map<string, Map<string, Amounts>>();

  get submitted(): string[] {
    return [...this.#submitted.keys()];
  }

  count(what: string, by = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + by;
  }

  /** @param requestId a repetition of it must answer with the same task */
  acknowledged(requestId: string, taskId: string): void {
    const other = [...this.#submitted].find(([id, request]) => request === requestId && id !== taskId);
    if (other !== undefined) this.faults.push(`request ${requestId} made ${other[0]} and ${taskId}`);
    this.#submitted.set(taskId, requestId);
    this.count('submitted');
  }

  /** An agent says that it has the result. */
  told(taskId: string, output: string): void {
    const all = this.#successes.get(taskId) ?? [];
    this.#successes.set(taskId, all);
    if (!all.some((each) => each.output === output)) all.push({ output, stored: false });
  }

  /** It was answered that this is stored. */
  stored(taskId: string, output: string): void {
    for (const each of this.#successes.get(taskId) ?? []) if (each.output === output) each.stored = true;
    this.count('results stored');
  }

  spent(taskId: string, deliveryId: string, amounts: Amounts): void {
    const attempts = this.#spent.get(taskId) ?? new Map<string, Amounts>();
    this.#spent.set(taskId, attempts);
    const before = attempts.get(deliveryId) ?? {};
    const most = Object.entries(amounts).map(([name, amount]) => {
      const had = before[name] ?? 0n;
      return [name, amount > had ? amount : had] as const;
    });
    attempts.set(deliveryId, { ...before, ...Object.fromEntries(most) });
  }

  expected(): Expected {
    const spent = [...this.#spent].map(([id, attempts]) => [id, sum(...attempts.values())] as const);
    return { submitted: this.submitted, successes: this.#successes, spent: new Map(spent) };
  }
}
