import { AgentError, BudgetSpentError } from './errors.ts';
import { type Amounts, bigintsOf } from './task.ts';

type Spent = Readonly<Record<string, bigint>>;

interface Ask {
  amounts: Spent;
  resolve: (left: Record<string, number>) => void;
  reject: (error: unknown) => void;
}

/**
 * What one attempt at a task spends. The service is told all of it each time, so one question is under way at a time; those
 * that come meanwhile are asked together, and one by one where that is refused.
 */
export class Spending {
  readonly #may: Spent;
  readonly #tell: (spent: Record<string, bigint>) => Promise<void>;
  readonly #signal: AbortSignal;
  #spent: Spent = {};
  #waiting: Ask[] = [];
  #under: Promise<void> | undefined;

  constructor(options: {
    /** What the task may spend. */
    budgets: Spent;
    /** Of that, in earlier attempts. */
    before: Spent;
    /** Resolves when it is stored; rejects with an AgentError. */
    tell: (spent: Record<string, bigint>) => Promise<void>;
    /** The work is over: nothing is waited for any more. */
    signal: AbortSignal;
  }) {
    const { budgets, before } = options;
    this.#may = mapped(budgets, (name, amount) => amount - of(before, name));
    this.#tell = options.tell;
    this.#signal = options.signal;
  }

  /** All that this attempt has spent. */
  get total(): Record<string, bigint> {
    return { ...this.#spent };
  }

  /** Never below 0: of more that was granted meanwhile it does not know. */
  get left(): Record<string, number> {
    const left = mapped(this.#may, (name, amount) => amount - of(this.#spent, name));
    return Object.fromEntries(
      Object.entries(left).map(([name, amount]) => [name, Math.max(0, Number(amount))]),
    );
  }

  /** Rejects with a BudgetSpentError, the signal's reason, what `tell` rejects with, or a RangeError. */
  async spend(amounts: Amounts): Promise<Record<string, number>> {
    const asked = bigintsOf(amounts, 'spend');
    this.#signal.throwIfAborted();
    if (Object.values(asked).every((amount) => amount === 0n)) return this.left;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ amounts: asked, resolve, reject });
      this.#under ??= this.#ask().finally(() => {
        this.#under = undefined;
      });
    });
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    await this.#under;
  }

  async #ask(): Promise<void> {
    while (this.#waiting.length > 0) {
      const asks = this.#waiting.splice(0);
      const refused = await this.#try(asks);
      if (asks.length > 1 && refused instanceof BudgetSpentError) {
        for (const ask of asks) this.#settle([ask], await this.#try([ask]));
      } else this.#settle(asks, refused);
    }
  }

  #settle(asks: readonly Ask[], refused: unknown): void {
    const { left } = this;
    for (const { resolve, reject } of asks) {
      if (refused === undefined) resolve(left);
      else reject(refused);
    }
  }

  /** Returns why not. */
  async #try(asks: readonly Ask[]): Promise<unknown> {
    const spent: Record<string, bigint> = { ...this.#spent };
    for (const { amounts } of asks) {
      for (const [name, amount] of Object.entries(amounts)) spent[name] = of(spent, name) + amount;
    }
    const signal = this.#signal;
    if (signal.aborted) return signal.reason;
    const over = aborted(signal);
    try {
      await Promise.race([this.#tell({ ...spent }), over.promise]);
      this.#spent = spent;
      return undefined;
    } catch (error) {
      // It may be stored all the same, and less than was said before must not be said after.
      if (signal.aborted) this.#spent = spent;
      if (signal.aborted) return signal.reason;
      const refused = error instanceof AgentError && error.reason === 'BUDGET_SPENT';
      return refused ? new BudgetSpentError(error, this.left) : error;
    } finally {
      over.release();
    }
  }
}

/** How much of a name there is: it may be called "constructor". */
const of = (amounts: Spent, name: string): bigint =>
  Object.hasOwn(amounts, name) ? (amounts[name] ?? 0n) : 0n;

function mapped(amounts: Spent, change: (name: string, amount: bigint) => bigint): Spent {
  return Object.fromEntries(Object.entries(amounts).map(([name, amount]) => [name, change(name, amount)]));
}

/** A promise that rejects when the signal fires. */
function aborted(signal: AbortSignal): { promise: Promise<never>; release: () => void } {
  let fire = (): void => {};
  const promise = new Promise<never>((_, reject) => {
    fire = () => reject(signal.reason);
  });
  signal.addEventListener('abort', fire, { once: true });
  return { promise, release: () => signal.removeEventListener('abort', fire) };
}
