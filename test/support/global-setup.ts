import { installRedis } from './redis-binary.ts';
import { reapOrphans } from './redis-server.ts';

/** Runs once before the tests that start servers: brings redis-server, or fails with what to do. */
export function setup(): void {
  reapOrphans();
  installRedis();
}

/** Runs after them, also when they failed. */
export function teardown(): void {
  reapOrphans();
}
