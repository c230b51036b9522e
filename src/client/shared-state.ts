import { create, fromJson, type JsonValue, type MessageInitShape } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { type Payload, PayloadSchema } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  StateChange_Type,
  type StateEntry,
  StateService,
  type StateWriteSchema,
  type WatchStateResponse,
} from '../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import type { AgentCalls, CallLimits } from './calls.ts';
import { AgentError, Code } from './errors.ts';
import { follow } from './follow.ts';
import { toDuration } from './time.ts';

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
    let synced = false;
    const request = (cursor: string) => ({ namespace: this.#namespace, prefix, cursor });
    const cursorOf = ({ cursor }: WatchStateResponse) => cursor;
    const watch = follow(this.#calls, StateService.method.watchState, request, cursorOf, signal);
    for await (const next of watch) {
      if (next.kind === 'restart') {
        synced = false;
        yield next;
        continue;
      }
      for (const { type, entry } of next.news.changes) {
        if (entry === undefined) continue;
        const { key, revision } = entry;
        yield type === StateChange_Type.REMOVED ? { kind: 'removed', key, revision } : { kind: 'put', entry };
      }
      if (next.news.synced && !synced) yield { kind: 'synced' };
      synced ||= next.news.synced;
    }
  }
}

export function payloadOf(value: SharedValue): Payload {
  if (typeof value === 'string') return create(PayloadSchema, { data: { case: 'text', value } });
  if (value instanceof Uint8Array) return create(PayloadSchema, { data: { case: 'binary', value } });
  return create(PayloadSchema, { data: { case: 'json', value: fromJson(ValueSchema, value.json) } });
}
