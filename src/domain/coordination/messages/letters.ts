import { create, fromBinary } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import type { RedriveDeadLettersRequest } from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import {
  DeadLetterRecordSchema,
  type DeliveryRecord,
  DeliveryRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { Entry, Store } from '../../../state/store.ts';
import { DEAD_PREFIX, deadKey } from '../delivery-record.ts';

/** A dead letter, and the delivery that it was. */
export interface Letter {
  entry: Entry;
  record: DeliveryRecord;
}

const PAGE = 1000;
/** Letters that are looked at where none are named. */
const MAX_LOOKED_AT = 10_000;

/** Stands before the keys of an agent's dead letters; '': of all. */
export const letterPrefix = (agentId: string): string =>
  agentId === '' ? DEAD_PREFIX : `${DEAD_PREFIX}${agentId}/`;

/**
 * The dead letters that are named, or else the first ones that match, by agent and id; in the order in which they were sent.
 * @throws DomainError DEAD_LETTER_NOT_FOUND
 */
export async function wantedLetters(
  store: Store,
  namespace: string,
  { agentId, deliveryIds }: RedriveDeadLettersRequest,
): Promise<Letter[]> {
  const entries =
    deliveryIds.length === 0
      ? await first(store, namespace, agentId)
      : agentId === ''
        ? await found(store, namespace, deliveryIds)
        : await Promise.all(deliveryIds.map((id) => store.get(namespace, deadKey(agentId, id))));
  const letters = entries.map((entry, index): Letter => {
    if (entry === undefined) throw notThere(deliveryIds[index] ?? '');
    const { delivery } = fromBinary(DeadLetterRecordSchema, entry.value);
    return { entry, record: delivery ?? create(DeliveryRecordSchema) };
  });
  return letters.sort(asSent);
}

async function first(store: Store, namespace: string, agentId: string): Promise<Entry[]> {
  const all: Entry[] = [];
  for await (const entries of pages(store, namespace, letterPrefix(agentId))) {
    all.push(...entries);
    if (all.length >= MAX_LOOKED_AT) break;
  }
  return all;
}

/** By their ids alone, whose agents are not known. */
async function found(store: Store, namespace: string, ids: readonly string[]) {
  const wanted = new Set(ids);
  const byId = new Map<string, Entry>();
  for await (const entries of pages(store, namespace, DEAD_PREFIX)) {
    for (const entry of entries) {
      const id = entry.key.slice(entry.key.lastIndexOf('/') + 1);
      if (wanted.has(id)) byId.set(id, entry);
    }
    if (byId.size === wanted.size) break;
  }
  return ids.map((id) => byId.get(id));
}

async function* pages(store: Store, namespace: string, prefix: string): AsyncGenerator<Entry[], void> {
  let after: string | undefined;
  for (;;) {
    const from = after === undefined ? {} : { after };
    const page = await store.scan(namespace, { prefix, limit: PAGE, ...from });
    yield page.entries;
    after = page.entries.at(-1)?.key;
    if (!page.more || after === undefined) return;
  }
}

/** Where the record does not say when it came into its mailbox (it was never in one, or is old), the letter's own revision counts. */
function asSent(a: Letter, b: Letter): number {
  const [first, second] = [placeOf(a), placeOf(b)];
  if (first.revision !== second.revision) return first.revision < second.revision ? -1 : 1;
  return first.index - second.index || first.ms - second.ms;
}

const placeOf = ({ entry, record: { createdRevision, index, createTime } }: Letter) => ({
  revision: createdRevision === 0n ? entry.revision : createdRevision,
  index,
  ms: createTime === undefined ? 0 : msFromTimestamp(createTime),
});

const notThere = (id: string): DomainError =>
  new DomainError({ reason: ErrorReason.DEAD_LETTER_NOT_FOUND, message: `there is no dead letter ${id}` });
