/** Figures for people on stderr and for programs as one JSON line each on stdout. */

export interface Figure {
  bench: string;
  metric: string;
  subject: string;
  value: number;
  unit: string;
}

export interface Comparison {
  bench: string;
  metric: string;
  subject: string;
  against: string;
  value: number;
  limit: number;
  /** Whether the target is reached. */
  met: boolean;
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

export function printFigure(figure: Figure): void {
  const value = round(figure.value);
  process.stdout.write(`${JSON.stringify({ ...figure, value })}\n`);
  say(`  ${figure.subject.padEnd(22)} ${figure.metric.padEnd(28)} ${value} ${figure.unit}`);
}

export function printComparison(comparison: Comparison): void {
  const value = round(comparison.value);
  process.stdout.write(`${JSON.stringify({ ...comparison, value })}\n`);
  const { subject, metric, against, limit, met } = comparison;
  say(`  ${met ? 'met   ' : 'MISSED'} ${subject} ${metric} against ${against}: ${value} (limit ${limit})`);
}

/** Nearest-rank quantile; NaN of nothing. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
