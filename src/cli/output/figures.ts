/** A measured value with its unit, as a catalogue of metrics names it; "–" where nothing was measured. */
export function formatFigure(value: number | undefined, unit: string): string {
  if (value === undefined || !Number.isFinite(value)) return '–';
  switch (unit) {
    case 'ratio':
      return value.toFixed(2);
    case 'ms':
      return value < 10 ? `${value.toFixed(1)}ms` : `${Math.round(value)}ms`;
    case 'per_second':
      return `${short(value)}/s`;
    case 'bytes':
      return `${(value / 2 ** 20).toFixed(0)} MiB`;
    default:
      return short(value);
  }
}

const short = (value: number): string =>
  Number.isInteger(value) ? value.toLocaleString('en-US') : value.toFixed(Math.abs(value) < 10 ? 2 : 1);

/** The unit of a figure that comes without one. */
export const unitOf = (metric: string): string => {
  if (metric === 'communication_latency') return 'ms';
  return metric === 'system_load' || metric === 'agent_health' || metric === 'resource_usage' ? 'ratio' : '';
};
