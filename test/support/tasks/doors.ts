import type { DescMethod, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { type Client as GrpcClient, type ServiceError, status } from '@grpc/grpc-js';
import type { Random } from '../faults/random.ts';
import { unary } from '../sim-agent.ts';
import { pause } from '../until.ts';

/** What a call came to in the end. */
export type Answer<T> = { kind: 'ok'; response: T } | { kind: 'refused'; reason: string; detail: string };

/** After these a call is made again, with the same request id. */
const REPEATED: ReadonlySet<status> = new Set([
  ...[status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED, status.ABORTED],
]);
/** What a server says that has a fault. */
const BUGS: ReadonlySet<status> = new Set([status.INTERNAL, status.UNKNOWN, status.UNIMPLEMENTED]);
const CALL_MS = 2_500;
const PAUSE_MS = 60;

export interface DoorsOptions {
  /** A channel to each replica. */
  channels: readonly GrpcClient[];
  random: Random;
  faults: string[];
}

/** Calls that are repeated, at any replica, until they have an answer. */
export class Doors {
  readonly #options: DoorsOptions;
  #stopped = false;

  constructor(options: DoorsOptions) {
    this.#options = options;
  }

  /** Calls that have no answer yet are given up. */
  stop(): void {
    this.#stopped = true;
  }

  /** @returns undefined: it was given up without an answer */
  async ask<M extends DescMethod>(
    method: M,
    request: MessageInitShape<M['input']>,
    timeoutMs = CALL_MS,
  ): Promise<Answer<MessageShape<M['output']>> | undefined> {
    const { channels, random, faults } = this.#options;
    while (!this.#stopped) {
      try {
        const response = await unary(random.pick(channels), method, request, { deadlineMs: timeoutMs });
        return { kind: 'ok', response };
      } catch (error) {
        const { code, details, metadata } = error as ServiceError;
        const reason = metadata?.get('error-reason')[0]?.toString() ?? '';
        const broken = reason === '' && !details?.startsWith('internal error');
        if (BUGS.has(code) && !broken) faults.push(`${method.name}: ${code} ${reason} ${details}`);
        if (!REPEATED.has(code) && !(BUGS.has(code) && broken))
          return { kind: 'refused', reason, detail: details };
      }
      await pause(PAUSE_MS);
    }
    return undefined;
  }

  /** The same where no refusal is expected. */
  async need<M extends DescMethod>(
    method: M,
    request: MessageInitShape<M['input']>,
  ): Promise<MessageShape<M['output']>> {
    const answer = await this.ask(method, request);
    if (answer?.kind === 'ok') return answer.response;
    throw new Error(`${method.name}: ${answer?.reason} ${answer?.detail}`);
  }
}
