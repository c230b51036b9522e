import type { DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { type Client as GrpcClient, type ServiceError, status } from '@grpc/grpc-js';
import type { Random } from '../faults/random.ts';
import { unary } from '../sim-agent.ts';
import { pause } from '../until.ts';

export type Outcome<T> =
  | { kind: 'answered'; response: T; call: number; ret: number }
  /** The service says that it did nothing, and why. */
  | { kind: 'refused'; reason: string; message: string; call: number; ret: number; repeats: number }
  | { kind: 'unknown'; call: number };

export interface CallsOptions {
  /** A channel to each replica. */
  doors: readonly GrpcClient[];
  random: Random;
}

const CALL_MS = 2_500;
const REPEAT_MS = 60;
/** So long a call is repeated; longer than any fault. */
const PATIENCE_MS = 15_000;

/** Calls through whatever replica, with what is known of their outcome. */
export class Calls {
  readonly #options: CallsOptions;
  /** Answers that no fault explains. */
  readonly faults: string[] = [];
  unknown = 0;
  repeated = 0;

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  /** @param repeat until it is answered: the request has an id, or changes nothing */
  async make<M extends DescMethodUnary>(
    method: M,
    request: MessageInitShape<M['input']>,
    { repeat }: { repeat: boolean },
  ): Promise<Outcome<MessageShape<M['output']>>> {
    const { doors, random } = this.#options;
    const call = performance.now();
    let open = false;
    for (let repeats = 0; ; repeats += 1) {
      try {
        const response = await unary(random.pick(doors), method, request, { deadlineMs: CALL_MS });
        return { kind: 'answered', response, call, ret: performance.now() };
      } catch (error) {
        const { code, details: message, metadata } = error as ServiceError;
        const reason = metadata?.get('error-reason')[0]?.toString() ?? '';
        const nothingDone = reason !== '' && reason !== 'OUTCOME_UNKNOWN';
        if (message.startsWith('internal error')) this.faults.push(`${method.name}: ${message}`);
        if (nothingDone && !(open && passing.has(reason))) {
          return { kind: 'refused', reason, message, call, ret: performance.now(), repeats };
        }
        if (!nothingDone) open = true;
        if (reason === '' && !broken.has(code)) this.faults.push(`${method.name}: ${code} ${message}`);
        if (!repeat || performance.now() > call + PATIENCE_MS) {
          this.unknown += 1;
          return { kind: 'unknown', call };
        }
        this.repeated += 1;
        await pause(REPEAT_MS);
      }
    }
  }
}

/** Refusals of this try alone: an earlier one may still have its effect. */
const passing: ReadonlySet<string> = new Set([
  'STORE_UNAVAILABLE',
  'CONTENTION',
  'LIMIT_REACHED',
  'NOT_READY',
]);

/** What a call ends with whose connection or server died. */
const broken: ReadonlySet<number> = new Set([
  ...[status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED, status.INTERNAL],
]);
