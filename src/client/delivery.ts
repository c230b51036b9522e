import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Delivery, PayloadSchema } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';

/** What a handler can do with a delivery. Each promise resolves once the service has stored the update. */
export interface DeliveryControls {
  /** Fires when the work is taken back (cancelled, superseded) or the agent closes: stop, the outcome is not wanted. */
  readonly signal: AbortSignal;
  /**
   * Takes it on; an outcome must follow. May be repeated: with what still `running`, of which at most 64 lines are told; with
   * all that a task has `spent`, which is refused (BUDGET_SPENT) where it is more than there is.
   */
  accept(options?: { running?: readonly string[]; spent?: Record<string, bigint> }): Promise<void>;
  /** Does not take it on. */
  decline(error: string, options?: { retryable?: boolean; spent?: Record<string, bigint> }): Promise<void>;
  /** Done. `spent` counts against the budgets granted. */
  succeed(
    output?: MessageInitShape<typeof PayloadSchema>,
    options?: { spent?: Record<string, bigint> },
  ): Promise<void>;
  /** Done, without success. */
  fail(error: string, options?: { retryable?: boolean; spent?: Record<string, bigint> }): Promise<void>;
  /** Tells how far it is, in the agent's own unit; `name`: what is counted. */
  progress(done: number | bigint, total?: number | bigint, name?: string): void;
}

/**
 * Takes a message or a task. It is called once for each (delivery id, attempt). If it throws before accepting, the
 * delivery is declined as retryable; after accepting, it has failed.
 */
export type DeliveryHandler = (delivery: Delivery, controls: DeliveryControls) => Promise<void> | void;
