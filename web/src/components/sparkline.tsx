/** The course of a value as a line without axes, `undefined` where nothing was measured. */
export function Sparkline({
  values,
  label,
  limit,
  floor = 0,
}: {
  values: readonly (number | undefined)[];
  label: string;
  /** A line at this value. */
  limit?: number | undefined;
  /** The lowest end of the scale is at most this. */
  floor?: number;
}) {
  const known = values.filter((value): value is number => value !== undefined);
  const least = Math.min(floor, ...known);
  const most = Math.max(...known, limit ?? 0, least + 1e-9);
  const x = (index: number) => (values.length < 2 ? 0 : (index / (values.length - 1)) * 100);
  const y = (value: number) => 31 - ((value - least) / (most - least)) * 30;
  let path = '';
  let open = false;
  for (const [index, value] of values.entries()) {
    if (value === undefined) {
      open = false;
      continue;
    }
    path += `${open ? 'L' : 'M'}${x(index).toFixed(2)} ${y(value).toFixed(2)}`;
    open = true;
  }
  return (
    <svg class="sparkline" viewBox="0 0 100 32" preserveAspectRatio="none" role="img" aria-label={label}>
      {limit !== undefined && <path class="sparkline-limit" d={`M0 ${y(limit).toFixed(2)}H100`} />}
      {path !== '' && <path class="sparkline-line" d={path} />}
    </svg>
  );
}
