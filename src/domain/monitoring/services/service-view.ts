import type { ChangeBatch, Entry, LiveRecord, Position } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import { SYSTEM_NAMESPACE } from '../../namespaces.ts';
import { type Asked, decodeService, serviceOfKey } from './service-record.ts';

/** A change of a service that was stored with its event. */
export interface Told {
  asked: Asked;
  revision: bigint;
}

/** What all replicas know of the system services: the last probe of each, and the last change that was told. */
export class ServiceView implements View {
  readonly #told = new Map<string, Told>();
  readonly #heard = new Map<string, Asked>();
  readonly #listeners = new Set<(name: string, asked: Asked) => void>();

  /** Told of every probe that is heard of. */
  listen(listener: (name: string, asked: Asked) => void): void {
    this.#listeners.add(listener);
  }

  told(name: string): Told | undefined {
    return this.#told.get(name);
  }

  /** The newest that is known. */
  last(name: string): Asked | undefined {
    const [heard, told] = [this.#heard.get(name), this.#told.get(name)?.asked];
    if (heard === undefined || told === undefined) return heard ?? told;
    return heard.judged.probeMs >= told.judged.probeMs ? heard : told;
  }

  reset(namespace: string, _position: Position, entries: readonly Entry[]): void {
    if (namespace !== SYSTEM_NAMESPACE) return;
    this.#told.clear();
    for (const { key, value, revision } of entries) this.#take(key, value, revision);
  }

  apply({ namespace, changes, revision }: ChangeBatch): void {
    if (namespace !== SYSTEM_NAMESPACE) return;
    for (const { key, value } of changes) this.#take(key, value, revision);
  }

  live(records: readonly LiveRecord[]): void {
    for (const { namespace, key, value } of records) {
      if (namespace !== SYSTEM_NAMESPACE) continue;
      const name = serviceOfKey(key);
      if (name === undefined) continue;
      if (value === undefined) this.#heard.delete(name);
      else this.hear(name, decodeService(value));
    }
  }

  /** What this replica found itself; others hear of it by the store. */
  hear(name: string, asked: Asked): void {
    this.#heard.set(name, asked);
    for (const listener of this.#listeners) listener(name, asked);
  }

  #take(key: string, value: Uint8Array | undefined, revision: bigint): void {
    const name = serviceOfKey(key);
    if (name === undefined) return;
    if (value === undefined) this.#told.delete(name);
    else this.#told.set(name, { asked: decodeService(value), revision });
  }
}
