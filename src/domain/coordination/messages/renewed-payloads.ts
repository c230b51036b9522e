import type { DeliveryRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Ids } from '../../../lib/ids.ts';
import type { Store } from '../../../state/store.ts';
import type { Letter } from './letters.ts';
import { blobKey } from './message-record.ts';

/** What one commit holds of them at most, bytes, one payload apart. */
const COMMIT_BYTES = 1 << 20;

/** Payloads that are kept apart, stored again for messages that are sent again: their keys say when they may go. */
export class RenewedPayloads {
  readonly #options: { store: Store; ids: Ids; namespace: string };
  /** By their old keys. */
  readonly #values = new Map<string, Uint8Array>();
  readonly #newKeys = new Map<string, string>();

  constructor(options: { store: Store; ids: Ids; namespace: string }) {
    this.#options = options;
  }

  async read(letters: readonly Letter[]): Promise<void> {
    const { store, namespace } = this.#options;
    const keys = new Set(letters.map(({ record }) => record.payloadKey));
    await Promise.all(
      [...keys].map(async (key) => {
        if (key === '' || this.#values.has(key)) return;
        const entry = await store.get(namespace, key);
        if (entry !== undefined) this.#values.set(key, entry.value);
      }),
    );
  }

  has({ payloadKey }: DeliveryRecord): boolean {
    return payloadKey === '' || this.#values.has(payloadKey);
  }

  /** Stores the payloads of these records until a time, each once, and has the records refer to them. */
  async renew(records: readonly DeliveryRecord[], untilMs: number): Promise<void> {
    let puts: { key: string; value: Uint8Array }[] = [];
    let bytes = 0;
    for (const record of records) {
      const value = this.#values.get(record.payloadKey);
      if (value === undefined) continue;
      let key = this.#newKeys.get(record.payloadKey);
      if (key === undefined) {
        key = blobKey(`re-${this.#options.ids.uuid()}`, untilMs);
        this.#newKeys.set(record.payloadKey, key);
        puts.push({ key, value });
        bytes += value.length;
      }
      record.payloadKey = key;
      if (bytes >= COMMIT_BYTES) {
        await this.#commit(puts);
        puts = [];
        bytes = 0;
      }
    }
    if (puts.length > 0) await this.#commit(puts);
  }

  /** Before the records: what nobody refers to in the end goes with time. */
  async #commit(puts: { key: string; value: Uint8Array }[]): Promise<void> {
    const { store, namespace } = this.#options;
    await store.commit({ namespace, puts });
  }
}
