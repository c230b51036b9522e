const bars = '▁▂▃▄▅▆▇█';

/** Values as a row of bars from 0 to the largest; the last `width` of them. */
export function sparkline(values: readonly number[], width: number): string {
  const shown = values.filter(Number.isFinite).slice(-Math.max(1, width));
  const most = Math.max(...shown, 0);
  if (shown.length === 0) return '';
  return shown
    .map((value) => bars[most === 0 ? 0 : Math.min(7, Math.max(0, Math.round((value / most) * 7)))])
    .join('');
}

/** A share from 0 to 1 as a bar of `width` characters. */
export function gauge(share: number, width: number): string {
  const full = Number.isFinite(share) ? Math.round(Math.min(1, Math.max(0, share)) * width) : 0;
  return '█'.repeat(full) + '·'.repeat(width - full);
}

/** Smallest, median and largest of some values. */
export function spread(
  values: readonly number[],
): { least: number; median: number; most: number } | undefined {
  const sorted = values.filter(Number.isFinite).sort((one, other) => one - other);
  const [least, median, most] = [sorted[0], sorted[Math.floor((sorted.length - 1) / 2)], sorted.at(-1)];
  if (least === undefined || median === undefined || most === undefined) return undefined;
  return { least, median, most };
}
