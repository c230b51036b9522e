import type { QuotaRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { ChangeBatch, Entry, Position } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import { decodeQuota, isQuotaKey, ownerOfQuota } from './quota-record.ts';

/** A quota as this replica knows it. */
export interface KnownQuota {
  readonly namespace: string;
  /** Empty: the namespace's own. */
  readonly owner: string;
  readonly record: QuotaRecord;
  readonly revision: bigint;
}

export interface QuotaListener {
  /** `before` is undefined for a new quota, `after` for one that was removed. */
  changed(before: KnownQuota | undefined, after: KnownQuota | undefined): void;
  /** All of a namespace was read anew; `changed` is not called for it. */
  replaced(namespace: string): void;
}

/** The view of all quotas. */
export class QuotaView implements View {
  readonly #namespaces = new Map<string, Map<string, KnownQuota>>();
  readonly #listeners = new Set<QuotaListener>();

  /** @returns ends it */
  listen(listener: QuotaListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get(namespace: string, owner: string): KnownQuota | undefined {
    return this.#namespaces.get(namespace)?.get(owner);
  }

  /** In no particular order. */
  all(namespace: string): Iterable<KnownQuota> {
    return this.#namespaces.get(namespace)?.values() ?? [];
  }

  namespaces(): string[] {
    return [...this.#namespaces.keys()];
  }

  count(namespace: string): number {
    return this.#namespaces.get(namespace)?.size ?? 0;
  }

  /** Owners in order, the namespace's '' first: those whose quota was confirmed. */
  sorted(namespace: string): string[] {
    const quotas = [...this.all(namespace)].filter(({ record }) => record.quota !== undefined);
    return quotas.map(({ owner }) => owner).sort();
  }

  reset(namespace: string, _position: Position, entries: readonly Entry[]): void {
    const had = this.#namespaces.delete(namespace);
    let some = false;
    for (const { key, value, revision } of entries) {
      if (!isQuotaKey(key)) continue;
      some = true;
      this.#put({ namespace, owner: ownerOfQuota(key), record: decodeQuota(value), revision });
    }
    if (had || some) for (const listener of this.#listeners) listener.replaced(namespace);
  }

  apply({ namespace, revision, changes }: ChangeBatch): void {
    for (const { key, value } of changes) {
      if (!isQuotaKey(key)) continue;
      const owner = ownerOfQuota(key);
      const before = this.get(namespace, owner);
      const after = value && { namespace, owner, record: decodeQuota(value), revision };
      if (after !== undefined) this.#put(after);
      else if (before !== undefined) this.#remove(before);
      else continue;
      for (const listener of this.#listeners) listener.changed(before, after);
    }
  }

  #put(known: KnownQuota): void {
    const quotas = this.#namespaces.get(known.namespace) ?? new Map<string, KnownQuota>();
    this.#namespaces.set(known.namespace, quotas.set(known.owner, known));
  }

  #remove({ namespace, owner }: KnownQuota): void {
    const quotas = this.#namespaces.get(namespace);
    quotas?.delete(owner);
    if (quotas?.size === 0) this.#namespaces.delete(namespace);
  }
}
