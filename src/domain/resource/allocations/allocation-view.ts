import type { ChangeBatch, Entry, Position } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import {
  allocationIdOf,
  allocationOf,
  isActive,
  isAllocationKey,
  isWaiting,
  type KnownAllocation,
  knownAllocation,
} from './allocation-record.ts';

export interface AllocationListener {
  /** `before` is undefined for a new allocation, `after` for one that is not kept any more. */
  changed(before: KnownAllocation | undefined, after: KnownAllocation | undefined): void;
  /** All of a namespace was read anew; `changed` is not called for it. */
  replaced(namespace: string): void;
}

interface Allocations {
  byId: Map<string, KnownAllocation>;
  waiting: Set<string>;
  active: Set<string>;
  /** In the order in which this replica heard of their end. */
  ended: Set<string>;
  /** Those that have ended, and whose spending is not in the quotas yet. */
  unsettled: Set<string>;
  /** Active ones by agent. */
  byAgent: Map<string, Set<string>>;
  /** Ids in order; undefined when one came or went since it was made. */
  sorted: string[] | undefined;
}

const NONE: ReadonlySet<string> = new Set();

/** The view of all allocations that are kept. */
export class AllocationView implements View {
  readonly #namespaces = new Map<string, Allocations>();
  readonly #listeners = new Set<AllocationListener>();

  /** @returns ends it */
  listen(listener: AllocationListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get(namespace: string, id: string): KnownAllocation | undefined {
    return this.#namespaces.get(namespace)?.byId.get(id);
  }

  namespaces(): string[] {
    return [...this.#namespaces.keys()];
  }

  /** In no particular order. */
  all(namespace: string): Iterable<KnownAllocation> {
    return this.#namespaces.get(namespace)?.byId.values() ?? [];
  }

  /** Those that wait, in no particular order: it is asked for ten times a second. */
  waiting(namespace: string): KnownAllocation[] {
    return this.#some(namespace, 'waiting');
  }

  /** Those that are granted, in no particular order. */
  active(namespace: string): KnownAllocation[] {
    return this.#some(namespace, 'active');
  }

  /** Those that have ended and are still kept, about oldest first. */
  ended(namespace: string): KnownAllocation[] {
    return this.#some(namespace, 'ended');
  }

  /** Those that have ended, and whose spending is not in the quotas yet. */
  unsettled(namespace: string): KnownAllocation[] {
    return this.#some(namespace, 'unsettled');
  }

  /** Ids of active ones on an agent. */
  on(namespace: string, agentId: string): ReadonlySet<string> {
    return this.#namespaces.get(namespace)?.byAgent.get(agentId) ?? NONE;
  }

  /** How many have not ended. */
  open(namespace: string): number {
    const allocations = this.#namespaces.get(namespace);
    return allocations === undefined ? 0 : allocations.waiting.size + allocations.active.size;
  }

  count(namespace: string): number {
    return this.#namespaces.get(namespace)?.byId.size ?? 0;
  }

  /** Ids in order. The array must not be changed. */
  sorted(namespace: string): readonly string[] {
    const allocations = this.#namespaces.get(namespace);
    if (allocations === undefined) return [];
    allocations.sorted ??= [...allocations.byId.keys()].sort();
    return allocations.sorted;
  }

  reset(namespace: string, _position: Position, entries: readonly Entry[]): void {
    const had = this.#namespaces.delete(namespace);
    let some = false;
    for (const { key, value, revision } of entries) {
      if (!isAllocationKey(key)) continue;
      some = true;
      this.#put(undefined, knownAllocation(namespace, key, value, revision));
    }
    if (had || some) for (const listener of this.#listeners) listener.replaced(namespace);
  }

  apply(batch: ChangeBatch): void {
    const { namespace, revision } = batch;
    for (const { key, value } of batch.changes) {
      if (!isAllocationKey(key)) continue;
      const before = this.get(namespace, allocationIdOf(key));
      const after = value && knownAllocation(namespace, key, value, revision);
      if (after !== undefined) this.#put(before, after);
      else if (before !== undefined) this.#remove(before);
      else continue;
      for (const listener of this.#listeners) listener.changed(before, after);
    }
  }

  #some(namespace: string, which: 'waiting' | 'active' | 'ended' | 'unsettled'): KnownAllocation[] {
    const allocations = this.#namespaces.get(namespace);
    if (allocations === undefined) return [];
    return Array.from(allocations[which]).flatMap((id) => allocations.byId.get(id) ?? []);
  }

  #of(namespace: string): Allocations {
    let allocations = this.#namespaces.get(namespace);
    if (allocations === undefined) {
      allocations = {
        byId: new Map(),
        waiting: new Set(),
        active: new Set(),
        ended: new Set(),
        unsettled: new Set(),
        byAgent: new Map(),
        sorted: undefined,
      };
      this.#namespaces.set(namespace, allocations);
    }
    return allocations;
  }

  #put(before: KnownAllocation | undefined, after: KnownAllocation): void {
    const allocations = this.#of(after.namespace);
    const { id, record } = after;
    if (before === undefined) allocations.sorted = undefined;
    else this.#leave(allocations, before);
    allocations.byId.set(id, after);
    if (isWaiting(record)) allocations.waiting.add(id);
    else if (isActive(record)) {
      allocations.active.add(id);
      const { agentId } = allocationOf(record);
      const there = allocations.byAgent.get(agentId) ?? new Set();
      allocations.byAgent.set(agentId, there.add(id));
    } else {
      allocations.ended.add(id);
      if (!record.settled) allocations.unsettled.add(id);
    }
  }

  #remove(known: KnownAllocation): void {
    const allocations = this.#of(known.namespace);
    this.#leave(allocations, known);
    allocations.byId.delete(known.id);
    allocations.sorted = undefined;
    if (allocations.byId.size === 0) this.#namespaces.delete(known.namespace);
  }

  #leave(allocations: Allocations, { id, record }: KnownAllocation): void {
    allocations.waiting.delete(id);
    allocations.active.delete(id);
    allocations.ended.delete(id);
    allocations.unsettled.delete(id);
    const { agentId } = allocationOf(record);
    const there = allocations.byAgent.get(agentId);
    there?.delete(id);
    if (there?.size === 0) allocations.byAgent.delete(agentId);
  }
}
