/** The one source of time. Domain code gets it passed in; tests pass a fake. */
export interface Clock {
  /** Wall clock, milliseconds since the Unix epoch. For records and people, never for deadlines. */
  wallMs(): number;
  /** Monotonic milliseconds with fractions, from an arbitrary origin. For deadlines and round trips. */
  monoMs(): number;
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monoMs: () => performance.now(),
};
