import { randomBytes, randomUUID } from 'node:crypto';

/** The one source of randomness. Domain code gets it passed in; tests pass a seeded one. */
export interface Ids {
  /** A random UUID (version 4). */
  uuid(): string;
  /** `size` random bytes, for secrets. */
  secret(size: number): Uint8Array;
  /** Uniform in [0, 1), for jitter; not for secrets. */
  random(): number;
}

export const systemIds: Ids = {
  uuid: () => randomUUID(),
  secret: (size) => randomBytes(size),
  random: () => Math.random(),
};
