/** Probes of the last hour by minute: how many there were, and how many were answered. */
export interface Availability {
  /** Of the first entries, since the Unix epoch. */
  minute: number;
  /** Newest first, at most `MINUTES`. */
  asked: readonly number[];
  answered: readonly number[];
}

const MINUTES = 60;
const MINUTE_MS = 60_000;

export const NO_PROBES: Availability = { minute: 0, asked: [], answered: [] };

/** One more probe. A clock that was set back counts into the newest minute that there is. */
export function counted(before: Availability, storeMs: number, answered: boolean): Availability {
  const moved = movedTo(before, storeMs);
  return {
    minute: moved.minute,
    asked: [(moved.asked[0] ?? 0) + 1, ...moved.asked.slice(1)],
    answered: [(moved.answered[0] ?? 0) + (answered ? 1 : 0), ...moved.answered.slice(1)],
  };
}

/** The share that was answered, 0..1; undefined: there was no probe. */
export function share(availability: Availability, storeMs: number): number | undefined {
  const { asked, answered } = movedTo(availability, storeMs);
  const all = sum(asked);
  return all === 0 ? undefined : sum(answered) / all;
}

function movedTo(before: Availability, storeMs: number): Availability {
  const minute = Math.max(before.minute, Math.floor(storeMs / MINUTE_MS));
  const passed = Math.min(minute - before.minute, MINUTES);
  if (passed === 0 && before.asked.length > 0) return before;
  const empty = Array.from({ length: Math.max(1, passed) }, () => 0);
  const keep = Math.max(0, MINUTES - empty.length);
  return {
    minute,
    asked: [...empty.slice(0, MINUTES), ...before.asked.slice(0, keep)],
    answered: [...empty.slice(0, MINUTES), ...before.answered.slice(0, keep)],
  };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
