import type { LockRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { ChangeBatch, Entry, Position } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import { decodeLock, isLockKey, lockOf, nameOfLock } from './lock-record.ts';

/** A lock as this replica knows it. */
export interface KnownLock {
  name: string;
  record: LockRecord;
  revision: bigint;
}

interface NamespaceLocks {
  byName: Map<string, KnownLock>;
  byAgent: Map<string, Set<string>>;
  /** Names in order; undefined when one came or went since it was made. */
  sorted: string[] | undefined;
}

/** The view of all locks. */
export class LockView implements View {
  readonly #namespaces = new Map<string, NamespaceLocks>();
  readonly #listeners = new Set<(namespace: string, name: string) => void>();

  /** Told of every change of a lock. */
  listen(listener: (namespace: string, name: string) => void): void {
    this.#listeners.add(listener);
  }

  count(namespace: string): number {
    return this.#namespaces.get(namespace)?.byName.size ?? 0;
  }

  get(namespace: string, name: string): KnownLock | undefined {
    return this.#namespaces.get(namespace)?.byName.get(name);
  }

  all(namespace: string): Iterable<KnownLock> {
    return this.#namespaces.get(namespace)?.byName.values() ?? [];
  }

  /** Names in order. The array must not be changed. */
  sorted(namespace: string): readonly string[] {
    const locks = this.#namespaces.get(namespace);
    if (locks === undefined) return [];
    locks.sorted ??= [...locks.byName.keys()].sort();
    return locks.sorted;
  }

  /** Those bound to an agent's session. */
  boundTo(namespace: string, agentId: string): KnownLock[] {
    const locks = this.#namespaces.get(namespace);
    return [...(locks?.byAgent.get(agentId) ?? [])].flatMap((name) => locks?.byName.get(name) ?? []);
  }

  reset(namespace: string, _position: Position, entries: readonly Entry[]): void {
    const before = this.#namespaces.get(namespace)?.byName.keys() ?? [];
    const names = new Set(before);
    this.#namespaces.delete(namespace);
    for (const { key, value, revision } of entries) {
      if (!isLockKey(key)) continue;
      this.#put(namespace, nameOfLock(key), value, revision);
      names.add(nameOfLock(key));
    }
    for (const name of names) this.#tell(namespace, name);
  }

  apply(batch: ChangeBatch): void {
    for (const { key, value } of batch.changes) {
      if (!isLockKey(key)) continue;
      const name = nameOfLock(key);
      if (value === undefined) this.#remove(batch.namespace, name);
      else this.#put(batch.namespace, name, value, batch.revision);
      this.#tell(batch.namespace, name);
    }
  }

  #put(namespace: string, name: string, value: Uint8Array, revision: bigint): void {
    let locks = this.#namespaces.get(namespace);
    if (locks === undefined) {
      locks = { byName: new Map(), byAgent: new Map(), sorted: undefined };
      this.#namespaces.set(namespace, locks);
    }
    const before = locks.byName.get(name);
    if (before === undefined) locks.sorted = undefined;
    else unbind(locks, before);
    const known = { name, record: decodeLock(value), revision };
    locks.byName.set(name, known);
    const agentId = lockOf(known.record).held ? lockOf(known.record).boundAgentId : '';
    if (agentId !== '') locks.byAgent.set(agentId, (locks.byAgent.get(agentId) ?? new Set()).add(name));
  }

  #remove(namespace: string, name: string): void {
    const locks = this.#namespaces.get(namespace);
    const before = locks?.byName.get(name);
    if (locks === undefined || before === undefined) return;
    unbind(locks, before);
    locks.byName.delete(name);
    locks.sorted = undefined;
  }

  #tell(namespace: string, name: string): void {
    for (const listener of this.#listeners) listener(namespace, name);
  }
}

function unbind(locks: NamespaceLocks, { name, record }: KnownLock): void {
  const { boundAgentId } = lockOf(record);
  const names = locks.byAgent.get(boundAgentId);
  if (names?.delete(name) && names.size === 0) locks.byAgent.delete(boundAgentId);
}
