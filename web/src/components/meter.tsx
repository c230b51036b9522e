import type { Tone } from './badge.tsx';

export interface MeterProps {
  /** What it shows, for those who hear it. */
  label: string;
  /** 0..1; undefined: unknown. */
  value: number | undefined;
  /** A second, paler value behind it, 0..1. */
  behind?: number | undefined;
  /** Where a limit stands, 0..1. */
  mark?: number | undefined;
  tone?: Tone;
}

const width = (value: number): string => `${Math.min(1, Math.max(0, value)) * 100}%`;

/** A bar of a ratio, with a second one behind it and a limit. */
export function Meter({ label, value, behind, mark, tone = 'info' }: MeterProps) {
  const text = value === undefined ? 'unknown' : `${Math.round(value * 100)}%`;
  return (
    <span class={`meter tone-${tone}`} role="img" aria-label={`${label}: ${text}`}>
      {behind !== undefined && <span class="meter-behind" style={{ width: width(behind) }} />}
      {value !== undefined && <span class="meter-value" style={{ width: width(value) }} />}
      {mark !== undefined && <span class="meter-mark" style={{ left: width(mark) }} />}
    </span>
  );
}

export interface Segment {
  word: string;
  count: number;
  tone: Tone;
}

/** Parts of a whole as one bar; the legend beside it says what they are. */
export function Stack({ label, segments }: { label: string; segments: readonly Segment[] }) {
  const all = segments.reduce((sum, { count }) => sum + count, 0);
  const text = segments.map(({ word, count }) => `${count} ${word}`).join(', ');
  return (
    <span class="stack" role="img" aria-label={`${label}: ${text}`}>
      {segments
        .filter(({ count }) => count > 0)
        .map(({ word, count, tone }) => (
          <span
            key={word}
            class={`stack-part tone-${tone} part-${word.replace(' ', '-')}`}
            style={{ flexGrow: count / all }}
            title={`${count} ${word}`}
          />
        ))}
    </span>
  );
}
