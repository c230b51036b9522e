import type { AgentPool } from '../pool/agent-pool.ts';
import type { Want } from '../pool/types.ts';

/** Something that has room on an agent, and what it asked for. */
export interface Resident {
  /** Under which the pool holds it. */
  key: string;
  agentId: string;
  want: Want;
}

/** A task with one attempt, which is offered to an agent or runs there. */
export interface PlacedTask extends Resident {
  id: string;
  attempt: number;
  /** Whether it may be moved while it runs (TaskSpec.movable). */
  movable: boolean;
  /** Its agent has accepted it; until then it may go anywhere. */
  accepted: boolean;
  /** For how long it has run; it begins anew where it goes. */
  ranMs: number;
  priority: number;
  /** Agents that it must not go to: they refused it of late. */
  exclude: ReadonlySet<string>;
}

/** A task that waits for room. */
export interface WaitingTask {
  id: string;
  want: Want;
  exclude: ReadonlySet<string>;
}

/** All that a plan is made from, at one moment. */
export interface Fleet {
  /** A copy of the namespace's pool that nobody else has: moves are tried out on it. */
  pool: AgentPool;
  tasks: readonly PlacedTask[];
  /** What has room and is not moved: allocations, and tasks that are being moved or whose agent is lost. */
  others: readonly Resident[];
  /** In the order in which they are to be served. */
  waiting: readonly WaitingTask[];
  /** Agents that are kept free for something: nothing is moved there. */
  keptFree: ReadonlySet<string>;
  /** Reports of usage that came before this do not count; by the clock that told the pool of them, milliseconds. */
  reportsSinceMs: number;
}

/** May be moved: nobody has begun it, or it was submitted so. */
export const mayMove = ({ movable, accepted }: PlacedTask): boolean => movable || !accepted;

/** What its move costs: what it has done is done again. */
export const costSecondsOf = ({ accepted, ranMs }: PlacedTask): number =>
  accepted ? Math.max(0, ranMs) / 1000 : 0;
