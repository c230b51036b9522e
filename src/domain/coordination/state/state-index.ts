import type { ChangeBatch, Entry, Position } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import type { Binding } from '../bindings.ts';
import { bindingOf, decodeState, entryOf, expireMsOf, isStateKey } from './state-record.ts';

/** An entry that does not stay for ever. Its value is not kept in memory. */
export interface PassingEntry {
  /** In the store. */
  key: string;
  revision: bigint;
  expireMs: number | undefined;
  binding: Binding | undefined;
}

interface NamespaceIndex {
  byKey: Map<string, PassingEntry>;
  byAgent: Map<string, Set<string>>;
}

const NOBODY: readonly PassingEntry[] = [];

/** The view of entries that expire or are bound to a session, so that nobody has to look through all of them. */
export class StateIndex implements View {
  readonly #namespaces = new Map<string, NamespaceIndex>();

  /** All of a namespace. */
  passing(namespace: string): Iterable<PassingEntry> {
    return this.#namespaces.get(namespace)?.byKey.values() ?? NOBODY;
  }

  /** Those bound to an agent's session. */
  boundTo(namespace: string, agentId: string): PassingEntry[] {
    const index = this.#namespaces.get(namespace);
    const keys = index?.byAgent.get(agentId) ?? [];
    return [...keys].flatMap((key) => index?.byKey.get(key) ?? []);
  }

  reset(namespace: string, _position: Position, entries: readonly Entry[]): void {
    this.#namespaces.delete(namespace);
    for (const { key, value, revision } of entries)
      if (isStateKey(key)) this.#put(namespace, key, value, revision);
  }

  apply(batch: ChangeBatch): void {
    for (const { key, value } of batch.changes) {
      if (!isStateKey(key)) continue;
      this.#remove(batch.namespace, key);
      if (value !== undefined) this.#put(batch.namespace, key, value, batch.revision);
    }
  }

  #put(namespace: string, key: string, value: Uint8Array, revision: bigint): void {
    const record = decodeState(value);
    const expireMs = expireMsOf(entryOf(record));
    const binding = bindingOf(record);
    if (expireMs === undefined && binding === undefined) return;
    let index = this.#namespaces.get(namespace);
    if (index === undefined) {
      index = { byKey: new Map(), byAgent: new Map() };
      this.#namespaces.set(namespace, index);
    }
    index.byKey.set(key, { key, revision, expireMs, binding });
    if (binding === undefined) return;
    const keys = index.byAgent.get(binding.agentId) ?? new Set();
    index.byAgent.set(binding.agentId, keys.add(key));
  }

  #remove(namespace: string, key: string): void {
    const index = this.#namespaces.get(namespace);
    const before = index?.byKey.get(key);
    if (index === undefined || before === undefined) return;
    index.byKey.delete(key);
    const agentId = before.binding?.agentId;
    const keys = agentId === undefined ? undefined : index.byAgent.get(agentId);
    if (agentId !== undefined && keys?.delete(key) && keys.size === 0) index.byAgent.delete(agentId);
    if (index.byKey.size === 0) this.#namespaces.delete(namespace);
  }
}
