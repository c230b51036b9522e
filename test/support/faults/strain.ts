import { availableParallelism, loadavg } from 'node:os';

/** How many times longer things take because the machine has more to do than it can; at least 1. */
export const strain = (): number => Math.max(1, (loadavg()[0] ?? 0) / availableParallelism());
