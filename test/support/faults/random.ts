/** Randomness that comes again with its seed. */
export interface Random {
  /** 0 ≤ x < 1. */
  next(): number;
  /** An integer, both ends included. */
  between(from: number, to: number): number;
  pick<T>(from: readonly T[]): T;
  chance(share: number): boolean;
  /** Another one, with its own sequence: what it draws does not depend on who else draws, and when. */
  fork(name: string): Random;
}

const MODULUS = 2_147_483_647;

/** A Lehmer generator: good enough for choosing faults. */
export function seeded(seed: number): Random {
  let state = (Math.abs(Math.trunc(seed)) % (MODULUS - 1)) + 1;
  const next = (): number => {
    state = (state * 48_271) % MODULUS;
    return (state - 1) / (MODULUS - 1);
  };
  // Neighbouring seeds begin alike.
  for (let i = 0; i < 8; i++) next();
  const between = (from: number, to: number): number => from + Math.floor(next() * (to - from + 1));
  return {
    next,
    between,
    pick: (from) => {
      const picked = from[between(0, from.length - 1)];
      if (picked === undefined) throw new Error('nothing to pick from');
      return picked;
    },
    chance: (share) => next() < share,
    fork: (name) =>
      seeded([...name].reduce((hash, char) => Math.imul(hash ^ char.charCodeAt(0), 0x01000193), seed)),
  };
}
