import type { DeliveryRecord } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { ChangeBatch, Entry, Position } from '../../state/store.ts';
import type { View } from '../../state/views.ts';
import { decodeDelivery, isMailKey, mailOf } from './delivery-record.ts';

/** An unfinished delivery as this replica knows it. */
export interface KnownDelivery {
  readonly namespace: string;
  readonly agentId: string;
  readonly id: string;
  readonly record: DeliveryRecord;
  /** Of the entry: it moves with every rewrite. */
  readonly revision: bigint;
  /** At which it was put into the mailbox: gives the order. */
  readonly createdRevision: bigint;
}

/** One agent's unfinished deliveries. */
interface Mailbox {
  byId: Map<string, KnownDelivery>;
  /** In their order. */
  ordered: KnownDelivery[];
  /** How many of them are commands. */
  commands: number;
}

export type MailListener = (namespace: string, agentId: string) => void;

/** Told of each change as it is applied, decoded once for all. */
export interface MailObserver {
  /** `before` is undefined for what was put there, `after` for what was taken out. */
  changed(batch: ChangeBatch, before: KnownDelivery | undefined, after: KnownDelivery | undefined): void;
  /** The mailboxes of a namespace were read anew. */
  replaced(namespace: string, position: Position): void;
}

const EMPTY: readonly KnownDelivery[] = [];

/** The view of all mailboxes: unfinished deliveries in memory, by namespace and agent. */
export class Mailboxes implements View {
  readonly #namespaces = new Map<string, Map<string, Mailbox>>();
  readonly #listeners = new Set<MailListener>();
  readonly #counts = new Map<string, number>();
  readonly #epochs = new Map<string, bigint>();
  readonly #observers: MailObserver[] = [];

  observe(observer: MailObserver): void {
    this.#observers.push(observer);
  }

  listen(listener: MailListener): void {
    this.#listeners.add(listener);
  }

  get(namespace: string, agentId: string, id: string): KnownDelivery | undefined {
    return this.#namespaces.get(namespace)?.get(agentId)?.byId.get(id);
  }

  /** The store epoch of what this view shows; a replica may know of a newer one before it has its content. */
  epoch(namespace: string): bigint {
    return this.#epochs.get(namespace) ?? 0n;
  }

  /** How many deliveries of an agent are unfinished. */
  count(namespace: string, agentId: string): number {
    return this.#namespaces.get(namespace)?.get(agentId)?.byId.size ?? 0;
  }

  /** How many there are in a namespace, or in all. */
  total(namespace?: string): number {
    if (namespace !== undefined) return this.#counts.get(namespace) ?? 0;
    let total = 0;
    for (const count of this.#counts.values()) total += count;
    return total;
  }

  /** An agent's deliveries in their order. The array must not be changed, and changes with the mailbox. */
  of(namespace: string, agentId: string): readonly KnownDelivery[] {
    return this.#namespaces.get(namespace)?.get(agentId)?.ordered ?? EMPTY;
  }

  /** How many commands are among an agent's deliveries. */
  commands(namespace: string, agentId: string): number {
    return this.#namespaces.get(namespace)?.get(agentId)?.commands ?? 0;
  }

  /** Every unfinished delivery of a namespace, agent by agent. */
  *all(namespace: string): IterableIterator<KnownDelivery> {
    for (const mailbox of this.#namespaces.get(namespace)?.values() ?? []) yield* mailbox.byId.values();
  }

  reset(namespace: string, position: Position, entries: readonly Entry[]): void {
    this.#epochs.set(namespace, position.epoch);
    const before = this.#namespaces.get(namespace);
    const mailboxes = new Map<string, Mailbox>();
    let count = 0;
    for (const { key, value, revision } of entries) {
      if (!isMailKey(key)) continue;
      const delivery = knownDelivery(namespace, key, value, revision);
      let mailbox = mailboxes.get(delivery.agentId);
      if (mailbox === undefined) {
        mailbox = { byId: new Map(), ordered: [], commands: 0 };
        mailboxes.set(delivery.agentId, mailbox);
      }
      mailbox.byId.set(delivery.id, delivery);
      mailbox.ordered.push(delivery);
      mailbox.commands += isCommand(delivery) ? 1 : 0;
      count += 1;
    }
    for (const { ordered } of mailboxes.values()) ordered.sort(inOrder);
    this.#namespaces.set(namespace, mailboxes);
    this.#counts.set(namespace, count);
    for (const observer of this.#observers) observer.replaced(namespace, position);
    for (const agentId of new Set([...(before?.keys() ?? []), ...mailboxes.keys()])) {
      for (const listener of this.#listeners) listener(namespace, agentId);
    }
  }

  apply(batch: ChangeBatch): void {
    this.#epochs.set(batch.namespace, batch.epoch);
    for (const { key, value } of batch.changes) {
      if (!isMailKey(key)) continue;
      const { agentId, deliveryId } = mailOf(key);
      const before = this.get(batch.namespace, agentId, deliveryId);
      const after = value && knownDelivery(batch.namespace, key, value, batch.revision);
      if (after === undefined) this.#remove(batch.namespace, agentId, deliveryId);
      else this.#put(after);
      for (const observer of this.#observers) observer.changed(batch, before, after);
      for (const listener of this.#listeners) listener(batch.namespace, agentId);
    }
  }

  #put(delivery: KnownDelivery): void {
    const { namespace, agentId, id } = delivery;
    let mailboxes = this.#namespaces.get(namespace);
    if (mailboxes === undefined) {
      mailboxes = new Map();
      this.#namespaces.set(namespace, mailboxes);
    }
    let mailbox = mailboxes.get(agentId);
    if (mailbox === undefined) {
      mailbox = { byId: new Map(), ordered: [], commands: 0 };
      mailboxes.set(agentId, mailbox);
    }
    const { byId, ordered } = mailbox;
    const before = byId.get(id);
    byId.set(id, delivery);
    if (before !== undefined) {
      const at = ordered.indexOf(before);
      if (
        before.createdRevision === delivery.createdRevision &&
        before.record.index === delivery.record.index
      ) {
        ordered[at] = delivery;
        return;
      }
      ordered.splice(at, 1);
    } else {
      this.#counts.set(namespace, (this.#counts.get(namespace) ?? 0) + 1);
      mailbox.commands += isCommand(delivery) ? 1 : 0;
    }
    // Nearly always at the end.
    let at = ordered.length;
    while (at > 0 && inOrder(ordered[at - 1] ?? delivery, delivery) > 0) at -= 1;
    ordered.splice(at, 0, delivery);
  }

  #remove(namespace: string, agentId: string, id: string): void {
    const mailboxes = this.#namespaces.get(namespace);
    const mailbox = mailboxes?.get(agentId);
    const known = mailbox?.byId.get(id);
    if (mailbox === undefined || known === undefined) return;
    mailbox.byId.delete(id);
    mailbox.ordered.splice(mailbox.ordered.indexOf(known), 1);
    mailbox.commands -= isCommand(known) ? 1 : 0;
    if (mailbox.byId.size === 0) mailboxes?.delete(agentId);
    this.#counts.set(namespace, (this.#counts.get(namespace) ?? 1) - 1);
  }
}

/** An entry of a mailbox, decoded. */
export function knownDelivery(
  namespace: string,
  key: string,
  value: Uint8Array,
  revision: bigint,
): KnownDelivery {
  const { agentId, deliveryId } = mailOf(key);
  const record = decodeDelivery(value);
  const createdRevision = record.createdRevision === 0n ? revision : record.createdRevision;
  return { namespace, agentId, id: deliveryId, record, revision, createdRevision };
}

const isCommand = ({ record }: KnownDelivery): boolean => record.item.case === 'command';

function inOrder(a: KnownDelivery, b: KnownDelivery): number {
  if (a.createdRevision !== b.createdRevision) return a.createdRevision < b.createdRevision ? -1 : 1;
  return a.record.index - b.record.index;
}
