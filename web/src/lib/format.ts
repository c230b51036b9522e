/** "82 %", "99.5 %"; of a ratio. */
export function percent(ratio: number | undefined): string {
  if (ratio === undefined || !Number.isFinite(ratio)) return '–';
  const value = ratio * 100;
  const digits = value > 0 && value < 1 ? 1 : value > 99 && value < 100 ? 1 : 0;
  return `${value.toFixed(digits)}%`;
}

/** Of milliseconds: "0.4 ms", "12 ms", "1.2 s", "3 min", "5 h". */
export function millis(ms: number | undefined): string {
  if (ms === undefined || !Number.isFinite(ms)) return '–';
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)} s`;
  return span(ms);
}

/** Of milliseconds, coarse: "4 s", "3 min", "2 h 5 min", "6 d". */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return minutes < 5 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return hours < 5 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return days < 5 ? `${days} d ${hours % 24} h` : `${days} d`;
}

export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = count;
  let unit = 0;
  while (value >= 1_024 && unit < units.length - 1) {
    value /= 1_024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

/** "12,345". */
export const count = (value: number | bigint): string => grouped.format(value);

/** A quantity of a resource: bytes as such, all else short from 100,000 on. */
export function quantity(resource: string, value: number | bigint): string {
  const number = Number(value);
  if (/bytes$/.test(resource)) return bytes(number);
  return Math.abs(number) < 100_000 ? grouped.format(number) : short.format(number);
}

/** A value with the unit of its metric. */
export function measured(unit: string, value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return '–';
  if (unit === 'ratio') return percent(value);
  if (unit === 'ms') return millis(value);
  if (unit === 'bytes') return bytes(value);
  if (unit === 'per_second') return `${value < 10 ? value.toFixed(1) : count(value)}/s`;
  if (unit === 'cores') return `${value.toFixed(2)} cores`;
  return Math.abs(value) < 10 && !Number.isInteger(value) ? value.toFixed(2) : count(value);
}

const clockTime = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});
const dayTime = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
});
const whole = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'long' });

/** A point in time in the viewer's zone: the time of day, with the date where it is another day. */
export function moment(ms: number | undefined, nowMs: number): string {
  if (ms === undefined) return '–';
  return Math.abs(nowMs - ms) < 12 * 3_600_000 ? clockTime.format(ms) : dayTime.format(ms);
}

/** All of it, for tooltips. */
export const wholeMoment = (ms: number | undefined): string => (ms === undefined ? '' : whole.format(ms));

/** "LIVENESS_NEVER_SEEN", or its name in the generated object, as words: "never seen". */
export const words = (name: string): string => name.replaceAll('_', ' ').toLowerCase();

/** The name of a value of a generated enum: "NEVER_SEEN". */
export function enumName(values: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(values).find((name) => values[name] === value) ?? `#${value}`;
}

export function plural(many: number, one: string, more = `${one}s`): string {
  return `${count(many)} ${many === 1 ? one : more}`;
}
