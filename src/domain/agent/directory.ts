import type { AgentRecord } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { ChangeBatch, Entry, Position } from '../../state/store.ts';
import type { View } from '../../state/views.ts';
import { livenessWords } from './liveness.ts';
import { agentIdOf, agentOf, decodeRecord, isAgentKey } from './record.ts';

/** An agent as this replica knows it. */
export interface KnownAgent {
  readonly namespace: string;
  readonly id: string;
  readonly record: AgentRecord;
  readonly revision: bigint;
}

export interface DirectoryListener {
  /** `before` is undefined for a new agent, `after` for a removed one; `revision` is that of the change. */
  changed(before: KnownAgent | undefined, after: KnownAgent | undefined, revision: bigint): void;
  /**
   * The store has another epoch: it was lost, or a replica of it that lagged behind took over. Told before the changes
   * that follow from it; `before` and `now` are the namespace's agents by id.
   */
  storeReplaced?(before: ReadonlyMap<string, KnownAgent>, now: ReadonlyMap<string, KnownAgent>): void;
}

interface NamespaceAgents {
  byId: Map<string, KnownAgent>;
  /** Ids in order; undefined when an id came or went since it was made. */
  sorted: string[] | undefined;
  /** The store's epoch; undefined before the first snapshot. */
  epoch: bigint | undefined;
}

/**
 * The view of all agents: what the store holds, in memory, by namespace and id.
 */
export class AgentDirectory implements View {
  readonly #namespaces = new Map<string, NamespaceAgents>();
  readonly #listeners = new Set<DirectoryListener>();

  listen(listener: DirectoryListener): void {
    this.#listeners.add(listener);
  }

  get(namespace: string, id: string): KnownAgent | undefined {
    return this.#namespaces.get(namespace)?.byId.get(id);
  }

  /** Of the store, as this replica has heard of it; undefined: of nothing in this namespace. */
  epoch(namespace: string): bigint | undefined {
    return this.#namespaces.get(namespace)?.epoch;
  }

  count(namespace: string): number {
    return this.#namespaces.get(namespace)?.byId.size ?? 0;
  }

  namespaces(): string[] {
    return [...this.#namespaces.keys()];
  }

  /** Every agent of one namespace (or of all), in no particular order. */
  *all(namespace?: string): IterableIterator<KnownAgent> {
    if (namespace !== undefined) {
      yield* this.#namespaces.get(namespace)?.byId.values() ?? [];
      return;
    }
    for (const agents of this.#namespaces.values()) yield* agents.byId.values();
  }

  /** How many agents there are of each liveness, by its name. */
  livenessCounts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { record } of this.all()) {
      const { name } = livenessWords(agentOf(record).liveness);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return counts;
  }

  /** The namespace's agents by id. The array must not be changed. */
  sortedIds(namespace: string): readonly string[] {
    const agents = this.#namespaces.get(namespace);
    if (agents === undefined) return [];
    agents.sorted ??= [...agents.byId.keys()].sort();
    return agents.sorted;
  }

  reset(namespace: string, position: Position, entries: readonly Entry[]): void {
    const previous = this.#namespaces.get(namespace);
    const old = previous?.byId ?? new Map<string, KnownAgent>();
    const byId = new Map<string, KnownAgent>();
    for (const entry of entries) {
      if (!isAgentKey(entry.key)) continue;
      const agent = known(namespace, entry.key, entry.value, entry.revision);
      byId.set(agent.id, agent);
    }
    this.#namespaces.set(namespace, { byId, sorted: undefined, epoch: position.epoch });
    if (previous?.epoch !== undefined && previous.epoch !== position.epoch) {
      for (const listener of this.#listeners) listener.storeReplaced?.(old, byId);
    }
    for (const agent of byId.values()) this.#tell(old.get(agent.id), agent, agent.revision);
    for (const agent of old.values())
      if (!byId.has(agent.id)) this.#tell(agent, undefined, position.revision);
  }

  apply(batch: ChangeBatch): void {
    this.#of(batch.namespace).epoch = batch.epoch;
    for (const change of batch.changes) {
      if (!isAgentKey(change.key)) continue;
      const agents = this.#of(batch.namespace);
      const id = agentIdOf(change.key);
      const before = agents.byId.get(id);
      if (change.value === undefined) {
        if (agents.byId.delete(id)) agents.sorted = undefined;
        this.#tell(before, undefined, batch.revision);
      } else {
        const after = known(batch.namespace, change.key, change.value, batch.revision);
        agents.byId.set(id, after);
        if (before === undefined) agents.sorted = undefined;
        this.#tell(before, after, batch.revision);
      }
    }
  }

  #of(namespace: string): NamespaceAgents {
    let agents = this.#namespaces.get(namespace);
    if (agents === undefined) {
      agents = { byId: new Map(), sorted: undefined, epoch: undefined };
      this.#namespaces.set(namespace, agents);
    }
    return agents;
  }

  #tell(before: KnownAgent | undefined, after: KnownAgent | undefined, revision: bigint): void {
    if (before === undefined && after === undefined) return;
    for (const listener of this.#listeners) listener.changed(before, after, revision);
  }
}

function known(namespace: string, key: string, value: Uint8Array, revision: bigint): KnownAgent {
  return { namespace, id: agentIdOf(key), record: decodeRecord(value), revision };
}
