/** Whole amounts by name, as protos have them. */
export type Amounts = Readonly<Record<string, bigint>>;

/** Sums of amounts, for many at a time. */
export class Tally {
  readonly #sums = new Map<string, Map<string, bigint>>();

  add(who: string, amounts: Amounts): void {
    this.#shift(who, amounts, 1n);
  }

  take(who: string, amounts: Amounts): void {
    this.#shift(who, amounts, -1n);
  }

  of(who: string, name: string): bigint {
    return this.#sums.get(who)?.get(name) ?? 0n;
  }

  get who(): string[] {
    return [...this.#sums.keys()];
  }

  names(who: string): string[] {
    return [...(this.#sums.get(who)?.keys() ?? [])];
  }

  /** "who: 3 name" for everything that is not 0. */
  left(): string[] {
    return [...this.#sums].flatMap(([who, sums]) =>
      [...sums].filter(([, sum]) => sum !== 0n).map(([name, sum]) => `${who || 'namespace'}: ${sum} ${name}`),
    );
  }

  #shift(who: string, amounts: Amounts, sign: bigint): void {
    let sums = this.#sums.get(who);
    if (sums === undefined) {
      sums = new Map();
      this.#sums.set(who, sums);
    }
    for (const [name, amount] of Object.entries(amounts)) {
      sums.set(name, (sums.get(name) ?? 0n) + sign * amount);
    }
  }
}

/** Both, name by name. */
export function sum(...all: Amounts[]): Amounts {
  const result: Record<string, bigint> = {};
  for (const amounts of all) {
    for (const [name, amount] of Object.entries(amounts)) result[name] = (result[name] ?? 0n) + amount;
  }
  return result;
}

/** Names of which `now` has more than `before`. */
export const grown = (before: Amounts, now: Amounts): string[] =>
  Object.keys(now).filter((name) => (now[name] ?? 0n) > (before[name] ?? 0n));

export const show = (amounts: Amounts): string =>
  Object.entries(amounts)
    .filter(([, amount]) => amount !== 0n)
    .map(([name, amount]) => `${amount} ${name}`)
    .sort()
    .join(', ') || 'nothing';
