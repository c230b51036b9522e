import type {
  OperationAgentRecord,
  OperationAnswerRecord,
  OperationRecord,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { ChangeBatch, Entry, Position } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import {
  decodeAnswer,
  decodeOperation,
  decodeOutcome,
  decodeWho,
  hasEnded,
  operationEntry,
  WHO_CHUNK,
} from './operation-record.ts';

/** What became of one agent, with its entry's revision. */
export interface KnownOutcome {
  record: OperationAgentRecord;
  revision: bigint;
}

export interface KnownAnswer {
  tries: number;
  record: OperationAnswerRecord;
}

/** An operation as this replica knows it. Of one that has ended only its record is kept in memory. */
export interface KnownOperation {
  readonly namespace: string;
  readonly id: string;
  record: OperationRecord;
  revision: bigint;
  /** The agents in the order of their turns. */
  who: string[];
  /** By place; nothing for those whose turn has not come. */
  outcomes: Map<number, KnownOutcome>;
  /** By place: answers that were not taken over yet. */
  answers: Map<number, KnownAnswer>;
}

export type OperationListener = (namespace: string) => void;

/** The view of all operations. */
export class OperationView implements View {
  readonly #namespaces = new Map<string, Map<string, KnownOperation>>();
  /** Those that have not ended. */
  readonly #live = new Map<string, Map<string, KnownOperation>>();
  readonly #listeners = new Set<OperationListener>();

  /** Hears that something about a namespace's operations changed. */
  listen(listener: OperationListener): void {
    this.#listeners.add(listener);
  }

  get(namespace: string, id: string): KnownOperation | undefined {
    return this.#namespaces.get(namespace)?.get(id);
  }

  /** All of a namespace, in no particular order. */
  all(namespace: string): KnownOperation[] {
    return [...(this.#namespaces.get(namespace)?.values() ?? [])];
  }

  /** Those that have not ended. */
  underway(namespace: string): KnownOperation[] {
    return [...(this.#live.get(namespace)?.values() ?? [])];
  }

  /** Whether anything has not ended. */
  isBusy(namespace: string): boolean {
    return (this.#live.get(namespace)?.size ?? 0) > 0;
  }

  count(namespace: string): number {
    return this.#namespaces.get(namespace)?.size ?? 0;
  }

  reset(namespace: string, _position: Position, entries: readonly Entry[]): void {
    this.#namespaces.delete(namespace);
    this.#live.delete(namespace);
    const own = entries.filter(({ key }) => operationEntry(key) !== undefined);
    // By key: an operation comes before what belongs to it, and its agents in their order.
    own.sort((a, b) => (a.key < b.key ? -1 : 1));
    for (const { key, value, revision } of own) this.#put(namespace, key, value, revision);
    if (own.length > 0) this.#tell(namespace);
  }

  apply(batch: ChangeBatch): void {
    let some = false;
    const { namespace, revision } = batch;
    // The operation first, wherever it stands in its commit.
    const later: { key: string; value: Uint8Array | undefined }[] = [];
    for (const { key, value } of batch.changes) {
      const entry = operationEntry(key);
      if (entry === undefined) continue;
      some = true;
      if (entry.kind !== 'operation') later.push({ key, value });
      else if (value === undefined) this.#forget(namespace, entry.id);
      else this.#put(namespace, key, value, revision);
    }
    for (const { key, value } of later) {
      if (value === undefined) this.#remove(namespace, key);
      else this.#put(namespace, key, value, revision);
    }
    if (some) this.#tell(namespace);
  }

  #tell(namespace: string): void {
    for (const listener of this.#listeners) listener(namespace);
  }

  #put(namespace: string, key: string, value: Uint8Array, revision: bigint): void {
    const entry = operationEntry(key);
    if (entry === undefined) return;
    if (entry.kind === 'operation') {
      this.#putOperation(namespace, entry.id, decodeOperation(value), revision);
      return;
    }
    const known = this.#live.get(namespace)?.get(entry.id);
    if (known === undefined) return;
    if (entry.kind === 'who') {
      known.who.splice(entry.chunk * WHO_CHUNK, WHO_CHUNK, ...decodeWho(value).agentIds);
    } else if (entry.kind === 'outcome') {
      known.outcomes.set(entry.place, { record: decodeOutcome(value), revision });
    } else {
      known.answers.set(entry.place, { tries: entry.tries, record: decodeAnswer(value) });
    }
  }

  #putOperation(namespace: string, id: string, record: OperationRecord, revision: bigint): void {
    const before = this.get(namespace, id);
    const known: KnownOperation = before ?? {
      namespace,
      id,
      record,
      revision,
      who: [],
      outcomes: new Map(),
      answers: new Map(),
    };
    known.record = record;
    known.revision = revision;
    mapOf(this.#namespaces, namespace).set(id, known);
    if (hasEnded(record)) {
      this.#live.get(namespace)?.delete(id);
      known.who = [];
      known.outcomes = new Map();
      known.answers = new Map();
    } else {
      mapOf(this.#live, namespace).set(id, known);
    }
  }

  #remove(namespace: string, key: string): void {
    const entry = operationEntry(key);
    if (entry?.kind !== 'answer') return;
    const answers = this.#live.get(namespace)?.get(entry.id)?.answers;
    if (answers?.get(entry.place)?.tries === entry.tries) answers.delete(entry.place);
  }

  #forget(namespace: string, id: string): void {
    this.#namespaces.get(namespace)?.delete(id);
    this.#live.get(namespace)?.delete(id);
  }
}

function mapOf<V>(maps: Map<string, Map<string, V>>, name: string): Map<string, V> {
  const found = maps.get(name) ?? new Map<string, V>();
  maps.set(name, found);
  return found;
}
