interface Sum {
  amount: number;
  holders: number;
}

/** Sums by name of what is held. A name that nobody holds is forgotten, and with it what rounding left beyond 2^53. */
export class Sums {
  readonly #sums = new Map<string, Sum>();

  get(name: string): number {
    return this.#sums.get(name)?.amount ?? 0;
  }

  add(amounts: Readonly<Record<string, number>>): void {
    for (const [name, amount] of Object.entries(amounts)) {
      const sum = this.#sums.get(name);
      if (sum === undefined) {
        this.#sums.set(name, { amount, holders: 1 });
      } else {
        sum.amount += amount;
        sum.holders += 1;
      }
    }
  }

  subtract(amounts: Readonly<Record<string, number>>): void {
    for (const [name, amount] of Object.entries(amounts)) {
      const sum = this.#sums.get(name);
      if (sum === undefined) continue;
      sum.amount -= amount;
      sum.holders -= 1;
      if (sum.holders <= 0) this.#sums.delete(name);
    }
  }

  isEmpty(): boolean {
    return this.#sums.size === 0;
  }
}
