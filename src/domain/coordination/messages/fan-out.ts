import { create } from '@bufbuild/protobuf';
import {
  type DeliveryRecord,
  DeliveryRecordSchema,
  type FanOutListRecord,
  FanOutListRecordSchema,
  type FanOutRecord,
  FanOutRecordSchema,
  LinkMarkSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { ChangeBatch, Entry, Position, Store } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import { nextEpoch } from '../../agent/attach.ts';
import type { Chore, ChoreContext } from '../../agent/care/chore.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { isAttached } from '../../agent/liveness.ts';
import { agentOf } from '../../agent/record.ts';
import { encodeDelivery, mailKey, putDeadLetter } from '../delivery-record.ts';
import type { Mark, Marks } from '../links/links.ts';
import type { Mailboxes } from '../mailboxes.ts';
import {
  CHUNK,
  decodeFanOut,
  decodeFanOutList,
  deliveryIdOf,
  encodeFanOut,
  encodeFanOutList,
  fanOutKey,
  fanOutListKey,
  isFanOutKey,
} from './message-record.ts';

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

/** A message that is to be put into further mailboxes: the list of them, and the position in it, which alone is followed. */
export function fanOutPuts(
  id: string,
  delivery: DeliveryRecord,
  agentIds: string[],
  marks: Marks | undefined,
): { key: string; value: Uint8Array }[] {
  const links = Object.fromEntries(
    agentIds.flatMap((agentId) => {
      const mark = marks?.get(agentId);
      return mark === undefined ? [] : [[agentId, create(LinkMarkSchema, mark)]];
    }),
  );
  const listKey = fanOutListKey(id);
  return [
    { key: listKey, value: encodeFanOutList(create(FanOutListRecordSchema, { agentIds, delivery, links })) },
    positionPut(fanOutKey(id), listKey, 0),
  ];
}

const positionPut = (key: string, listKey: string, position: number) => ({
  key,
  value: encodeFanOut(create(FanOutRecordSchema, { listKey, position })),
});

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

  async run(context: ChoreContext): Promise<void> {
    for (const [key, underway] of [...(this.#namespaces.get(context.namespace) ?? [])])
      await this.#goOn(context, key, underway);
  }

  async #goOn({ namespace, fence, storeMs }: ChoreContext, key: string, underway: Underway): Promise<void> {
    const { store, directory, mailboxes, maxMailbox } = this.#options;
    const { epoch } = store.status();
    const id = key.slice(key.indexOf('/') + 1);
    const listKey = underway.record.listKey || fanOutListKey(id);
    const found = await this.#list(namespace, underway.record);
    // It is through, and the view lags behind.
    if (found === undefined) return;
    const { list } = found;
    const { delivery, agentIds, links } = list;
    if (delivery === undefined) throw new Error('a fan-out without its delivery');
    const how = {
      ...{ id, delivery, storeMs, storeEpoch: epoch },
      isFull: (agentId: string) => mailboxes.count(namespace, agentId) >= maxMailbox,
      markOf: (agentId: string) => (Object.hasOwn(links, agentId) ? links[agentId] : undefined),
      sessionOf: (agentId: string) => sessionOf(directory, namespace, agentId),
    };
    let { revision } = underway;
    let listRevision = found.revision;
    let { position } = underway.record;
    for (let chunk = 0; chunk < CHUNKS_A_ROUND && position < agentIds.length; chunk += 1) {
      const next = position + CHUNK;
      const isLast = next >= agentIds.length;
      const outcome = await store.commit({
        namespace,
        epoch,
        checks: [fence, { key, revision }, { key: listKey, revision: listRevision }],
        puts: [
          ...putsInto({ ...how, agentIds: agentIds.slice(position, next) }),
          ...(isLast ? [] : [positionPut(key, listKey, next)]),
          ...(isLast || listRevision !== 0n ? [] : [{ key: listKey, value: encodeFanOutList(list) }]),
        ],
        deletes: isLast ? [key, listKey] : [],
      });
      if (outcome.kind !== 'committed') return;
      position = next;
      revision = outcome.revision;
      if (listRevision === 0n) listRevision = revision;
    }
  }

  /** What a fan-out goes through, and the revision of its entry: 0n when it has none yet, as an earlier version left it. */
  async #list(
    namespace: string,
    record: FanOutRecord,
  ): Promise<{ list: FanOutListRecord; revision: bigint } | undefined> {
    const { listKey, agentIds, delivery, links } = record;
    if (listKey === '') {
      const list = create(FanOutListRecordSchema, { agentIds, links });
      if (delivery !== undefined) list.delivery = delivery;
      return { list, revision: 0n };
    }
    const entry = await this.#options.store.get(namespace, listKey);
    return entry && { list: decodeFanOutList(entry.value), revision: entry.revision };
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
