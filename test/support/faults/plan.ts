import type { Random } from './random.ts';

/** How a link is cut: new and old connections are reset, or nothing arrives and nobody is told. */
export type Cut = 'refuse' | 'blackhole';

interface OfReplica<K extends string> {
  kind: K;
  replica: number;
  ms: number;
}
interface OfRedis<K extends string> {
  kind: K;
  ms: number;
}
/** `late`: what waited in a black hole arrives when it ends. */
interface OfLink<K extends string> extends OfReplica<K> {
  cut: Cut;
  late: boolean;
}

/** One fault, with its time. */
export type Fault =
  | OfReplica<'kill-replica'>
  | OfReplica<'pause-replica'>
  | OfRedis<'kill-redis'>
  | OfRedis<'pause-redis'>
  | OfLink<'cut-redis'>
  | OfLink<'cut-agents'>
  | OfReplica<'reset-agents'>;

export interface Planned {
  /** After the round began, milliseconds. */
  afterMs: number;
  fault: Fault;
}

const KINDS = [
  ...['kill-replica', 'pause-replica', 'kill-redis', 'pause-redis'],
  ...['cut-redis', 'cut-agents', 'reset-agents'],
] as const satisfies readonly Fault['kind'][];

/** Those that an embedded store leaves. */
const OF_SERVICE = ['kill-replica', 'pause-replica', 'cut-agents', 'reset-agents'] as const;

export interface PlanOptions {
  replicas: number;
  /** Default: with those of Redis. */
  of?: 'service';
  /** How long a fault lasts, milliseconds, mostly little more than the least: many rounds find more than long ones. */
  leastMs?: number;
  mostMs?: number;
}

/** One fault or two, the second in the first's time more often than not. Pure but for the random source. */
export function planRound(random: Random, options: PlanOptions): Planned[] {
  const first = { afterMs: random.between(100, 600), fault: drawFault(random, options) };
  if (random.chance(0.5)) return [first];
  for (;;) {
    const afterMs = random.between(100, 2 * (options.leastMs ?? LEAST_MS));
    const second = { afterMs, fault: drawFault(random, options) };
    if (!isSame(first.fault, second.fault)) return [first, second];
  }
}

const isSame = (a: Fault, b: Fault): boolean =>
  a.kind === b.kind && ('replica' in a ? a.replica : 0) === ('replica' in b ? b.replica : 0);

const LEAST_MS = 1000;
const MOST_MS = 6000;

function drawFault(
  random: Random,
  { replicas, of, leastMs = LEAST_MS, mostMs = MOST_MS }: PlanOptions,
): Fault {
  const kind = random.pick<Fault['kind']>(of === 'service' ? OF_SERVICE : KINDS);
  const replica = random.between(0, replicas - 1);
  const pausedMs = Math.round(leastMs + (mostMs - leastMs) * random.next() ** 3);
  const downMs = random.between(0, Math.round(leastMs * 1.5));
  const cut = random.pick(['refuse', 'blackhole'] as const);
  const late = random.chance(0.5);
  switch (kind) {
    case 'kill-replica':
      return { kind, replica, ms: downMs };
    case 'kill-redis':
      return { kind, ms: downMs };
    case 'pause-redis':
      return { kind, ms: pausedMs };
    case 'pause-replica':
      return { kind, replica, ms: pausedMs };
    case 'reset-agents':
      return { kind, replica, ms: 0 };
    default:
      return { kind, replica, cut, late, ms: pausedMs };
  }
}

/** "pause-replica 1 for 2300 ms after 400 ms". */
export function describeFault({ afterMs, fault }: Planned): string {
  const whom = 'replica' in fault ? ` ${fault.replica}` : '';
  const how = 'cut' in fault ? ` (${fault.cut}${fault.late ? ', late' : ''})` : '';
  return `${fault.kind}${whom}${how} for ${fault.ms} ms after ${afterMs} ms`;
}
