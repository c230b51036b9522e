import type { ChangeBatch, Commit } from '../store.ts';

/** Commits remembered; the feed is far less behind. */
const KEPT = 4096;

/**
 * What this process committed of late. The feed brings it back from Redis in other bytes; handing out the ones that were
 * committed lets whoever encoded them know them again (`decodeRecord`), and frees what Redis' answers take in memory.
 */
export class OwnCommits {
  readonly #puts = new Map<string, Commit['puts']>();

  remember(epoch: bigint, revision: bigint, { namespace, puts }: Commit): void {
    if (puts === undefined || puts.length === 0) return;
    this.#puts.set(nameOf(namespace, epoch, revision), puts);
    if (this.#puts.size <= KEPT) return;
    const oldest = this.#puts.keys().next().value;
    if (oldest !== undefined) this.#puts.delete(oldest);
  }

  /** The batch with the bytes that were committed here, where it was. */
  recognise(batch: ChangeBatch): ChangeBatch {
    const name = nameOf(batch.namespace, batch.epoch, batch.revision);
    const puts = this.#puts.get(name);
    if (puts === undefined) return batch;
    this.#puts.delete(name);
    // The last put of a key wins.
    const values = new Map(puts.map(({ key, value }) => [key, value]));
    const changes = batch.changes.map((change) => {
      const own = change.value === undefined ? undefined : values.get(change.key);
      return own === undefined ? change : { key: change.key, value: own };
    });
    return { ...batch, changes };
  }
}

const nameOf = (namespace: string, epoch: bigint, revision: bigint): string =>
  `${namespace} ${epoch} ${revision}`;
