import { SessionService } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../../lib/errors.ts';

export interface LimitsOptions {
  /** Unary calls under way at a time, on both listeners together. */
  maxUnaryInFlight: number;
  /** Open server streams, on both listeners together. */
  maxWatches: number;
  /** Sessions on this replica: so many long polls may wait, apart from the other unary calls. */
  maxSessions: number;
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
  /** An agent without a stream has a poll under way nearly always: those must not crowd out everyone else's calls. */
  #polls = 0;
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
    const { maxUnaryInFlight, maxSessions } = this.#options;
    if (service === SessionService.typeName) {
      if (this.#polls >= maxSessions)
        throw refused(
          `${maxSessions} polls are under way on this replica, its limit of sessions`,
          retryUnaryMs,
        );
      this.#polls += 1;
      return;
    }
    if (this.#unary + this.unread >= maxUnaryInFlight && !alwaysServed.has(service)) {
      throw refused(`${maxUnaryInFlight} calls are under way on this replica, its limit`, retryUnaryMs);
    }
    this.#unary += 1;
  }

  leaveUnary(service: string): void {
    if (service === SessionService.typeName) this.#polls -= 1;
    else this.#unary -= 1;
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
