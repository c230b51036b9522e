import type { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type { Accounts } from '../accounts/accounts.ts';
import type { AgentPool } from '../pool/agent-pool.ts';

/** What a namespace has and what of it is taken, as far as this replica has seen. */
export type LedgerOf = (namespace: string) => { readonly pool: AgentPool; readonly accounts: Accounts };

/** Something that waits, as far as usage and explanations need to know. */
export interface WaitingItem {
  readonly kind: 'task' | 'allocation';
  readonly key: string;
  /** By the store's clock. */
  readonly sinceMs: number;
}

/** What waits in one namespace: those that want the same and have the same owner stand in one line. */
export interface WaitingLines<I extends WaitingItem> {
  readonly waiting: {
    lanes(): Iterable<{ readonly line: Iterable<I> }>;
    all(): Iterable<I>;
    laneOf(key: string): object | undefined;
  };
  /** Agents that are kept free, each for what waits under a key. */
  readonly keptFree: ReadonlyMap<string, string>;
  why(item: I, nowMs: number): { reason: PendingReason };
}
