import { fromBinary } from '@bufbuild/protobuf';
import {
  type SubscriptionRecord,
  SubscriptionRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import type { ChangeBatch, Entry, Position } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';

const PREFIX = 'sub/';

export const subscriptionKey = (id: string): string => PREFIX + id;
const isSubscriptionKey = (key: string): boolean => key.startsWith(PREFIX);
const idOf = (key: string): string => key.slice(PREFIX.length);

export const encodeSubscription = (record: SubscriptionRecord): Uint8Array =>
  encode(SubscriptionRecordSchema, record);
export const decodeSubscription = (bytes: Uint8Array): SubscriptionRecord =>
  fromBinary(SubscriptionRecordSchema, bytes);

export interface KnownSubscription {
  id: string;
  agentId: string;
  topic: string;
  record: SubscriptionRecord;
  revision: bigint;
}

interface NamespaceSubscriptions {
  byId: Map<string, KnownSubscription>;
  /** By topic as written: exact, or with ".*". */
  byTopic: Map<string, Set<KnownSubscription>>;
}

/** The view of all subscriptions. */
export class SubscriptionView implements View {
  readonly #namespaces = new Map<string, NamespaceSubscriptions>();

  get(namespace: string, id: string): KnownSubscription | undefined {
    return this.#namespaces.get(namespace)?.byId.get(id);
  }

  count(namespace: string): number {
    return this.#namespaces.get(namespace)?.byId.size ?? 0;
  }

  /** By id. */
  all(namespace: string): KnownSubscription[] {
    const subscriptions = [...(this.#namespaces.get(namespace)?.byId.values() ?? [])];
    return subscriptions.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Agents that receive what is sent to a topic, in order and each once. */
  receivers(namespace: string, topic: string): string[] {
    const subscriptions = this.#namespaces.get(namespace);
    if (subscriptions === undefined) return [];
    const agents = new Set<string>();
    for (const pattern of patternsOf(topic)) {
      for (const { agentId } of subscriptions.byTopic.get(pattern) ?? []) agents.add(agentId);
    }
    return [...agents].sort();
  }

  reset(namespace: string, _position: Position, entries: readonly Entry[]): void {
    this.#namespaces.delete(namespace);
    for (const { key, value, revision } of entries) {
      if (isSubscriptionKey(key)) this.#put(namespace, idOf(key), value, revision);
    }
  }

  apply(batch: ChangeBatch): void {
    for (const { key, value } of batch.changes) {
      if (!isSubscriptionKey(key)) continue;
      this.#remove(batch.namespace, idOf(key));
      if (value !== undefined) this.#put(batch.namespace, idOf(key), value, batch.revision);
    }
  }

  #put(namespace: string, id: string, value: Uint8Array, revision: bigint): void {
    let subscriptions = this.#namespaces.get(namespace);
    if (subscriptions === undefined) {
      subscriptions = { byId: new Map(), byTopic: new Map() };
      this.#namespaces.set(namespace, subscriptions);
    }
    const record = decodeSubscription(value);
    const { agentId = '', topic = '' } = record.subscription ?? {};
    const known = { id, agentId, topic, record, revision };
    subscriptions.byId.set(id, known);
    const same = subscriptions.byTopic.get(topic) ?? new Set();
    subscriptions.byTopic.set(topic, same.add(known));
  }

  #remove(namespace: string, id: string): void {
    const subscriptions = this.#namespaces.get(namespace);
    const known = subscriptions?.byId.get(id);
    if (subscriptions === undefined || known === undefined) return;
    subscriptions.byId.delete(id);
    const same = subscriptions.byTopic.get(known.topic);
    if (same?.delete(known) && same.size === 0) subscriptions.byTopic.delete(known.topic);
  }
}

/** All that matches a topic: itself, and every prefix of it with ".*". */
export function patternsOf(topic: string): string[] {
  const words = topic.split('.');
  return [topic, ...words.slice(0, -1).map((_, index) => `${words.slice(0, index + 1).join('.')}.*`)];
}
