import { randomFillSync, randomUUID } from 'node:crypto';

/** The one source of randomness. Domain code gets it passed in; tests pass a seeded one. */
export interface Ids {
  /** A random UUID (version 4). */
  uuid(): string;
  /** `size` random bytes, for secrets. */
  secret(size: number): Uint8Array;
  /** Uniform in [0, 1), for jitter; not for secrets. */
  random(): number;
}

/** Random bytes made ahead: one call for many small secrets costs a fraction of one call each. */
const pool = new Uint8Array(4096);
let taken = pool.length;

/** What is handed out is wiped from the pool. At most 4,096 bytes. */
function takeSecret(size: number): Uint8Array {
  if (taken + size > pool.length) {
    randomFillSync(pool);
    taken = 0;
  }
  const secret = pool.slice(taken, taken + size);
  pool.fill(0, taken, taken + size);
  taken += size;
  return secret;
}

export const systemIds: Ids = {
  uuid: () => randomUUID(),
  secret: takeSecret,
  random: () => Math.random(),
};
