import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../../lib/errors.ts';

export interface LimitsOptions {
  /** Unary calls under way at a time, on both listeners together. */
  maxUnaryInFlight: number;
  /** Open server streams, on both listeners together. */
  maxWatches: number;
}

/** Health must answer an overloaded replica's load balancer, or the load moves on and fells the next one. */
const alwaysServed = new Set(['grpc.health.v1.Health']);

const retryUnaryMs = 250;
const retryWatchMs = 5_000;

/** Counts what is under way and refuses what is too much, with a delay after which a retry may succeed. */
export class Limits {
  readonly #options: LimitsOptions;
  /** Answers handed to the transport that their clients have not read: they count as calls, for they hold memory. */
  unread = 0;
  #unary = 0;
  #watches = 0;

  constructor(options: LimitsOptions) {
    this.#options = options;
  }

  get unaryInFlight(): number {
    return this.#unary;
  }

  get watches(): number {
    return this.#watches;
  }

  enterUnary(service: string): void {
    const { maxUnaryInFlight } = this.#options;
    if (this.#unary + this.unread >= maxUnaryInFlight && !alwaysServed.has(service)) {
      throw refused(`${maxUnaryInFlight} calls are under way on this replica, its limit`, retryUnaryMs);
    }
    this.#unary += 1;
  }

  leaveUnary(): void {
    this.#unary -= 1;
  }

  enterWatch(): void {
    const { maxWatches } = this.#options;
    if (this.#watches >= maxWatches) {
      throw refused(`${maxWatches} watches are open on this replica, its limit`, retryWatchMs);
    }
    this.#watches += 1;
  }

  leaveWatch(): void {
    this.#watches -= 1;
  }
}

function refused(message: string, retryAfterMs: number): DomainError {
  return new DomainError({ reason: ErrorReason.LIMIT_REACHED, message, retryAfterMs });
}
