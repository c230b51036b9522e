import { create } from '@bufbuild/protobuf';
import {
  type DeliveryRecord,
  DeliveryRecordSchema,
  type FanOutRecord,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { ChangeBatch, Entry, Position, Store } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import { nextEpoch } from '../../agent/attach.ts';
import type { Chore, ChoreContext } from '../../agent/care/chore.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { isAttached } from '../../agent/liveness.ts';
import { agentOf } from '../../agent/record.ts';
import { encodeDelivery, mailKey, putDeadLetter } from '../delivery-record.ts';
import type { Mark } from '../links/links.ts';
import type { Mailboxes } from '../mailboxes.ts';
import { CHUNK, decodeFanOut, deliveryIdOf, encodeFanOut, isFanOutKey } from './message-record.ts';

/** One message for some mailboxes: entries, and dead letters for those that are full. */
export function putsInto(options: {
  id: string;
  delivery: DeliveryRecord;
  agentIds: readonly string[];
  isFull(agentId: string): boolean;
  storeMs: number;
  /** There is no other receiver. */
  only?: boolean;
  /** What link policies made of it. */
  markOf(agentId: string): Pick<Mark, 'policyId' | 'reroutedFrom' | 'throttled'> | undefined;
  /** The session that a receiver has: its first attempt is for that. */
  sessionOf(agentId: string): bigint | undefined;
  /** Of the store, in which the attempts begin; the commit must be refused in another one. */
  storeEpoch: bigint;
  /** The place among what the commit puts into mailboxes. */
  index?: number;
}): { key: string; value: Uint8Array }[] {
  const { id, delivery, agentIds, isFull, storeMs, only, markOf, sessionOf, storeEpoch, index = 0 } = options;
  return agentIds.map((agentId) => {
    // Of several receivers each has one of its own.
    const record = agentIds.length === 1 && only === true ? delivery : create(DeliveryRecordSchema);
    Object.assign(record, record === delivery ? {} : delivery, {
      id: deliveryIdOf(id, agentId, only),
      agentId,
      index,
    });
    const mark = markOf(agentId);
    if (mark !== undefined) {
      record.linkPolicyId = mark.policyId;
      record.reroutedFrom = mark.reroutedFrom;
      if (mark.throttled) return putDeadLetter(record, 'throttled', '', storeMs);
    }
    if (isFull(agentId)) return putDeadLetter(record, 'mailbox_full', '', storeMs);
    const sessionEpoch = sessionOf(agentId);
    // It need not be claimed: whoever holds that session hands it out as it is.
    if (sessionEpoch !== undefined) {
      record.attempt = nextEpoch(0n, storeEpoch);
      record.sessionEpoch = sessionEpoch;
    }
    return { key: mailKey(agentId, record.id), value: encodeDelivery(record) };
  });
}

/** The epoch of the session that an agent has, as far as this replica knows. */
export function sessionOf(directory: AgentDirectory, namespace: string, agentId: string): bigint | undefined {
  const known = directory.get(namespace, agentId);
  if (known === undefined || !isAttached(agentOf(known.record).liveness)) return undefined;
  return known.record.sessionEpoch;
}

interface Underway {
  record: FanOutRecord;
  revision: bigint;
}

export interface FanOutsOptions {
  store: Store;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  maxMailbox: number;
}

/** Commits of one fan-out in one round. */
const CHUNKS_A_ROUND = 16;

/** Messages on their way into many mailboxes: goes on from where the stored position is, whoever holds the lease of care. */
export class FanOuts implements View, Chore {
  readonly name = 'fan-out of messages';
  readonly #options: FanOutsOptions;
  readonly #namespaces = new Map<string, Map<string, Underway>>();

  constructor(options: FanOutsOptions) {
    this.#options = options;
  }

  reset(namespace: string, _position: Position, entries: readonly Entry[]): void {
    this.#namespaces.delete(namespace);
    for (const { key, value, revision } of entries)
      if (isFanOutKey(key)) this.#put(namespace, key, value, revision);
  }

  apply(batch: ChangeBatch): void {
    for (const { key, value } of batch.changes) {
      if (!isFanOutKey(key)) continue;
      if (value === undefined) this.#namespaces.get(batch.namespace)?.delete(key);
      else this.#put(batch.namespace, key, value, batch.revision);
    }
  }

  async run({ namespace, fence, storeMs }: ChoreContext): Promise<void> {
    const { store, directory, mailboxes, maxMailbox } = this.#options;
    for (const [key, underway] of [...(this.#namespaces.get(namespace) ?? [])]) {
      let { record, revision } = underway;
      for (let chunk = 0; chunk < CHUNKS_A_ROUND && record.agentIds.length > 0; chunk += 1) {
        const { delivery } = record;
        if (delivery === undefined) throw new Error('a fan-out without its delivery');
        const agentIds = record.agentIds.slice(0, CHUNK);
        const left = record.agentIds.slice(CHUNK);
        const id = key.slice(key.indexOf('/') + 1);
        const isFull = (agentId: string): boolean => mailboxes.count(namespace, agentId) >= maxMailbox;
        const { links } = record;
        const markOf = (agentId: string) => (Object.hasOwn(links, agentId) ? links[agentId] : undefined);
        const next = { ...record, agentIds: left };
        const { epoch } = store.status();
        const how = {
          ...{ id, delivery, agentIds, isFull, storeMs, markOf, storeEpoch: epoch },
          sessionOf: (agentId: string) => sessionOf(directory, namespace, agentId),
        };
        const outcome = await store.commit({
          namespace,
          epoch,
          checks: [fence, { key, revision }],
          puts: [...putsInto(how), ...(left.length === 0 ? [] : [{ key, value: encodeFanOut(next) }])],
          deletes: left.length === 0 ? [key] : [],
        });
        if (outcome.kind !== 'committed') break;
        record = next;
        revision = outcome.revision;
      }
    }
  }

  #put(namespace: string, key: string, value: Uint8Array, revision: bigint): void {
    let fanOuts = this.#namespaces.get(namespace);
    if (fanOuts === undefined) {
      fanOuts = new Map();
      this.#namespaces.set(namespace, fanOuts);
    }
    fanOuts.set(key, { record: decodeFanOut(value), revision });
  }
}
