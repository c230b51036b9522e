import { create, fromJson, type JsonValue, type MessageInitShape } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { type Payload, PayloadSchema } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  StateChange_Type,
  type StateEntry,
  StateService,
  type StateWriteSchema,
} from '../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import type { AgentCalls, CallLimits } from './calls.ts';
import { AgentError, Code } from './errors.ts';
import { sleep, toDuration } from './time.ts';

/** Text, bytes, or a JSON value in `{ json }`. */
export type SharedValue = string | Uint8Array | { json: JsonValue };

export type SharedWrite = MessageInitShape<typeof StateWriteSchema>;

export interface PutOptions extends CallLimits {
  /** The revision that the entry must have; 0n: it must not exist. Else ABORTED (REVISION_MISMATCH). */
  ifRevision?: bigint;
  /** It goes by itself after this time. */
  expireAfterMs?: number;
  /** It goes when this agent is lost or leaves. */
  bind?: boolean;
}

export type SharedChange =
  | { kind: 'put'; entry: StateEntry }
  | { kind: 'removed'; key: string; revision: bigint }
  /** Everything that was there has been told; what follows is news. */
  | { kind: 'synced' }
  /** The service no longer has what follows the last change: what is there comes anew, from nothing. */
  | { kind: 'restart' };

/** The entries that agents and operators share, in the agent's namespace; writes carry its session. */
export class SharedState {
  readonly #calls: AgentCalls;
  readonly #namespace: string;

  constructor(options: { calls: AgentCalls; namespace: string }) {
    this.#calls = options.calls;
    this.#namespace = options.namespace;
  }

  /** Never older than a write that was acknowledged before. Undefined: there is none. */
  async get(key: string, limits?: CallLimits): Promise<StateEntry | undefined> {
    try {
      const request = { namespace: this.#namespace, key };
      const { entry } = await this.#calls.call(StateService.method.getState, request, limits);
      return entry;
    } catch (error) {
      if (error instanceof AgentError && error.code === Code.NOT_FOUND) return undefined;
      throw error;
    }
  }

  /** Entries by key. */
  async list(prefix = '', limits?: CallLimits): Promise<StateEntry[]> {
    const all: StateEntry[] = [];
    let pageToken = '';
    do {
      const request = { namespace: this.#namespace, prefix, pageSize: 500, pageToken };
      const page = await this.#calls.call(StateService.method.listState, request, limits);
      all.push(...page.entries);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return all;
  }

  /** Resolves to the entry's revision when it is stored. */
  put(key: string, value: SharedValue, options: PutOptions = {}): Promise<bigint> {
    const { ifRevision, expireAfterMs, bind, ...limits } = options;
    const write: SharedWrite = {
      key,
      operation: { case: 'put', value: payloadOf(value) },
      bindToSession: bind ?? false,
      ...(ifRevision !== undefined && { expectedRevision: ifRevision }),
      ...(expireAfterMs !== undefined && { expireAfter: toDuration(expireAfterMs) }),
    };
    return this.commit([write], limits);
  }

  remove(key: string, options: Pick<PutOptions, 'ifRevision'> & CallLimits = {}): Promise<bigint> {
    const { ifRevision, ...limits } = options;
    const write: SharedWrite = {
      key,
      operation: { case: 'remove', value: true },
      ...(ifRevision !== undefined && { expectedRevision: ifRevision }),
    };
    return this.commit([write], limits);
  }

  /** All writes or none. Resolves to the revision of all of them. */
  async commit(writes: readonly SharedWrite[], limits?: CallLimits): Promise<bigint> {
    const { revision } = await this.#calls.write(
      StateService.method.commitState,
      (session) => ({ namespace: this.#namespace, writes: [...writes], ...session }),
      limits,
    );
    return revision;
  }

  /** What is there under a prefix, then each change in order, over reconnects, until the signal fires. */
  async *watch(
    prefix: string,
    { signal }: { signal: AbortSignal },
  ): AsyncGenerator<SharedChange, void, undefined> {
    let cursor = '';
    let told = false;
    while (!signal.aborted) {
      try {
        const at = await this.#calls.attachment(signal);
        if (told && cursor === '') yield { kind: 'restart' };
        const request = { namespace: this.#namespace, prefix, cursor };
        let synced = cursor !== '';
        const news = at.transport.stream(StateService.method.watchState, request, {
          token: at.token,
          signal: AbortSignal.any([signal, at.ended]),
        });
        for await (const response of news) {
          told = true;
          for (const { type, entry } of response.changes) {
            if (entry === undefined) continue;
            const { key, revision } = entry;
            yield type === StateChange_Type.REMOVED
              ? { kind: 'removed', key, revision }
              : { kind: 'put', entry };
          }
          if (response.synced && !synced) yield { kind: 'synced' };
          synced ||= response.synced;
          cursor = response.cursor || cursor;
        }
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof AgentError)) throw error;
        if (error.code === Code.OUT_OF_RANGE && cursor !== '') cursor = '';
        else if (!passing.has(error.code) || error.reason === 'closed') throw error;
        await sleep(Math.max(error.retryAfterMs ?? 0, 250), signal);
      }
    }
  }
}

const passing: ReadonlySet<number> = new Set([
  ...[Code.UNAVAILABLE, Code.CANCELLED, Code.INTERNAL, Code.UNKNOWN],
  ...[Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED],
]);

export function payloadOf(value: SharedValue): Payload {
  if (typeof value === 'string') return create(PayloadSchema, { data: { case: 'text', value } });
  if (value instanceof Uint8Array) return create(PayloadSchema, { data: { case: 'binary', value } });
  return create(PayloadSchema, { data: { case: 'json', value: fromJson(ValueSchema, value.json) } });
}
