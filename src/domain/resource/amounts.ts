/** Whole numbers by name of a resource or budget, each from 0 to 2^53 - 1. What is not named is 0. */
export type Amounts = Readonly<Record<string, number>>;

/** The resource of which each task takes one unless it says otherwise. */
export const SLOTS = 'slots';

const MOST_INT64 = 2n ** 63n - 1n;

/** No prototype: a resource may be called "constructor". */
function empty(): Record<string, number> {
  return Object.create(null) as Record<string, number>;
}

/** How much of it there is. */
export function amountOf(amounts: Amounts, name: string): number {
  return Object.hasOwn(amounts, name) ? (amounts[name] ?? 0) : 0;
}

/** Of a proto map. What is below 0 counts as 0, what is above 2^53 - 1 as that. */
export function amountsOf(map: { readonly [name: string]: bigint }): Amounts {
  const amounts = empty();
  for (const [name, value] of Object.entries(map)) {
    amounts[name] = Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Number(value)));
  }
  return amounts;
}

/** For a proto map. A sum that int64 cannot hold becomes the most that it can. */
export function bigintsOf(amounts: Amounts): { [name: string]: bigint } {
  const map: { [name: string]: bigint } = {};
  for (const [name, value] of Object.entries(amounts)) {
    // An assignment to "__proto__" would set the prototype instead.
    Object.defineProperty(map, name, {
      value: int64Of(value),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return map;
}

/** A number of a sum as int64. */
export function int64Of(value: number): bigint {
  const whole = BigInt(Math.trunc(value));
  return whole > MOST_INT64 ? MOST_INT64 : whole;
}

/** The sums, name by name. */
export function add(a: Amounts, b: Amounts): Amounts {
  const sum = empty();
  for (const [name, value] of Object.entries(a)) sum[name] = value;
  for (const [name, value] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + value;
  return sum;
}

/** `a` less `b`, name by name, never below 0. */
export function subtract(a: Amounts, b: Amounts): Amounts {
  const left = empty();
  for (const [name, value] of Object.entries(a)) left[name] = Math.max(0, value - amountOf(b, name));
  return left;
}

/** The same, with so many slots where it does not say how many. */
export function withSlots(resources: Amounts, slots: number): Amounts {
  if (slots === 0 || Object.hasOwn(resources, SLOTS)) return resources;
  return add(resources, { [SLOTS]: slots });
}
