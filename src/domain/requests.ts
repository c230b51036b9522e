import { createHash } from 'node:crypto';
import { type DescMessage, fromBinary, type MessageShape, toJson } from '@bufbuild/protobuf';
import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { encode } from '../lib/encode.ts';
import { DomainError } from '../lib/errors.ts';
import type { RequestRecord, Store } from '../state/store.ts';

/** How long the first answer of a mutation is remembered. */
const REMEMBERED_MS = 24 * 3600 * 1000;

export interface MutationOptions<I extends DescMessage, O extends DescMessage> {
  store: Store;
  namespace: string;
  /** Who asks: a request id is remembered per principal and method. */
  principal: string;
  method: string;
  requestId: string;
  input: { schema: I; message: MessageShape<I> };
  output: O;
}

/** One mutation that may be a repeat; without a request id it never is. */
export class Mutation<I extends DescMessage, O extends DescMessage> {
  readonly #options: MutationOptions<I, O>;
  readonly #fingerprint: Uint8Array;

  constructor(options: MutationOptions<I, O>) {
    this.#options = options;
    this.#fingerprint =
      options.requestId === ''
        ? new Uint8Array()
        : fingerprintOf(options.input.schema, options.input.message);
  }

  /**
   * The first answer, if this request was answered before, with the revision of its commit.
   * @throws DomainError REQUEST_ID_REUSED for the same id with another body
   */
  async earlier(): Promise<{ revision: bigint; response: MessageShape<O> } | undefined> {
    const { store, namespace, requestId } = this.#options;
    if (requestId === '') return undefined;
    const found = await store.getRequest(namespace, this.#id());
    return found === undefined ? undefined : this.repeated(found);
  }

  /** The same, from a commit's outcome. */
  repeated(found: { revision: bigint; fingerprint: Uint8Array; response: Uint8Array }): {
    revision: bigint;
    response: MessageShape<O>;
  } {
    if (!Buffer.from(found.fingerprint).equals(this.#fingerprint)) throw requestIdReused();
    return { revision: found.revision, response: fromBinary(this.#options.output, found.response) };
  }

  /** What the commit is to remember: nothing without a request id. */
  record(response: MessageShape<O>): { request?: RequestRecord } {
    if (this.#options.requestId === '') return {};
    return {
      request: {
        id: this.#id(),
        fingerprint: this.#fingerprint,
        response: encode(this.#options.output, response),
        ttlMs: REMEMBERED_MS,
      },
    };
  }

  /** Hashed, because its parts together may be longer than a key. */
  #id(): string {
    const { principal, method, requestId } = this.#options;
    return createHash('sha256')
      .update(JSON.stringify([principal, method, requestId]))
      .digest('base64url');
  }
}

export const requestIdReused = (field = 'request_id'): DomainError =>
  new DomainError({
    reason: ErrorReason.REQUEST_ID_REUSED,
    message: `this ${field} was used before with another request`,
    violations: [{ field, description: 'was used before with another request; take a new one' }],
  });

/** A hash of what a message says. Maps are sorted: encoders, Go's above all, write them in another order each time. */
export function fingerprintOf<S extends DescMessage>(schema: S, message: MessageShape<S>): Uint8Array {
  const text = JSON.stringify(toJson(schema, message), (_key, value: unknown) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
  return createHash('sha256').update(text).digest();
}
