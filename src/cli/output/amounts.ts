const STEPS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** A quantity for people: bytes in binary units, everything else as digits in groups of three. */
export function formatAmount(name: string, value: bigint): string {
  if (!/(^|_)bytes$/.test(name)) return value.toLocaleString('en-US');
  let figure = Number(value);
  let step = 0;
  while (Math.abs(figure) >= 1024 && step < STEPS.length - 1) {
    figure /= 1024;
    step++;
  }
  const text = step === 0 || Number.isInteger(figure) ? `${figure}` : figure.toFixed(figure < 10 ? 2 : 1);
  return `${text} ${STEPS[step]}`;
}

/** `cpu_milli 500, tokens 1,000`, by name; empty where there are none. */
export function amountWords(amounts: Readonly<Record<string, bigint>>): string {
  return byName(amounts)
    .map(([name, value]) => `${name} ${formatAmount(name, value)}`)
    .join(', ');
}

/** `tokens 120 of 1,000, money_micros 5`: each of what it is of, where that is known. */
export function sharesOf(
  amounts: Readonly<Record<string, bigint>>,
  whole: Readonly<Record<string, bigint>>,
): string {
  const all = Object.fromEntries([...Object.keys(whole), ...Object.keys(amounts)].map((name) => [name, 0n]));
  return byName({ ...all, ...amounts })
    .map(([name, value]) => {
      const of = whole[name];
      return `${name} ${formatAmount(name, value)}${of === undefined ? '' : ` of ${formatAmount(name, of)}`}`;
    })
    .join(', ');
}

export function byName<T>(record: Readonly<Record<string, T>>): [string, T][] {
  return Object.entries(record).sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0));
}
