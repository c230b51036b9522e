import type { LiveRecord } from '../store.ts';
import type { Keys } from './keys.ts';
import type { Link } from './link.ts';
import { NetstringReader } from './netstrings.ts';
import * as scripts from './scripts.ts';

/** A namespace whose replicas are all silent for so long has no living agents. */
export const TTL_MS = 24 * 3_600_000;
/** No write of before a removal arrives later than this. */
const GONE_TTL_MS = 600_000;
/** Records in one call: keeps each run of the script short. */
const CHUNK = 250;

/** Soft records: last writer wins by (epoch, sequence). */
export class LiveRecords {
  readonly #link: Link;
  readonly #keys: Keys;

  constructor(options: { link: Link; keys: Keys }) {
    this.#link = options.link;
    this.#keys = options.keys;
  }

  async put(records: readonly LiveRecord[]): Promise<void> {
    await this.#link.ready();
    const byNamespace = new Map<string, LiveRecord[]>();
    for (const record of records) {
      const list = byNamespace.get(record.namespace);
      if (list) list.push(record);
      else byNamespace.set(record.namespace, [record]);
    }
    const calls: Promise<number>[] = [];
    for (const [namespace, list] of byNamespace) {
      for (let from = 0; from < list.length; from += CHUNK) {
        calls.push(this.#putChunk(namespace, list.slice(from, from + CHUNK)));
      }
    }
    await Promise.all(calls);
  }

  async scan(namespace: string): Promise<LiveRecord[]> {
    await this.#link.ready();
    const found = new Map<string, LiveRecord>();
    let cursor = '0';
    do {
      const key = this.#keys.of(namespace).live;
      const [next, items] = scripts.list(await this.#link.reads.call('hscan', key, cursor, 'COUNT', 1_000));
      const fields = scripts.list(items);
      for (let at = 0; at + 1 < fields.length; at += 2) {
        const record = parseStored(namespace, scripts.text(fields[at]), fields[at + 1] as Buffer);
        if (record.value !== undefined) found.set(record.key, record);
      }
      cursor = scripts.text(next);
    } while (cursor !== '0');
    return [...found.values()];
  }

  #putChunk(namespace: string, records: readonly LiveRecord[]): Promise<number> {
    return scripts.putLive(this.#link.reads, {
      keys: this.#keys.of(namespace),
      channel: this.#keys.liveChannel,
      namespace,
      ttlMs: TTL_MS,
      goneTtlMs: GONE_TTL_MS,
      records: records.flatMap(({ key, epoch, sequence, value }) => [
        ...[key, String(epoch), String(sequence)],
        value ? Buffer.concat([Buffer.from('1'), value]) : '0',
      ]),
    });
  }
}

/** What put_live.lua passes on. */
export function parseLiveMessage(message: Buffer): LiveRecord[] {
  const reader = new NetstringReader(message);
  const namespace = reader.text();
  const records: LiveRecord[] = [];
  while (!reader.done) {
    const key = reader.text();
    const epoch = BigInt(reader.text());
    const sequence = Number(reader.text());
    records.push(withValue({ namespace, key, epoch, sequence }, reader.bytes()));
  }
  return records;
}

/** "epoch:sequence:1value" or "epoch:sequence:0" */
export function parseStored(namespace: string, key: string, stored: Buffer): LiveRecord {
  const first = stored.indexOf(58);
  const second = stored.indexOf(58, first + 1);
  const epoch = BigInt(stored.toString('latin1', 0, first));
  const sequence = Number(stored.toString('latin1', first + 1, second));
  return withValue({ namespace, key, epoch, sequence }, stored.subarray(second + 1));
}

function withValue(record: Omit<LiveRecord, 'value'>, flagged: Buffer): LiveRecord {
  return flagged[0] === 49 ? { ...record, value: flagged.subarray(1) } : record;
}
