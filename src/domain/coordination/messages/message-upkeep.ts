import type { DeliveryRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { Store } from '../../../state/store.ts';
import type { Chore, ChoreContext } from '../../agent/care/chore.ts';
import type { Loss, LossEffects, LossHook } from '../../agent/care/loss-hook.ts';
import { encodeDelivery, mailKey } from '../delivery-record.ts';
import type { Links } from '../links/links.ts';
import type { Mailboxes } from '../mailboxes.ts';
import { placingKeyOf } from './key-holders.ts';
import { BLOB_PREFIX, blobExpirySeconds, decodeReply, REPLY_PREFIX } from './message-record.ts';
import type { Receivers } from './receivers.ts';
import { isForgotten, SEEN_PREFIX } from './seen-messages.ts';

export interface MessageUpkeepOptions {
  store: Store;
  mailboxes: Mailboxes;
  receivers: Receivers;
  links: Links;
}

const TRIM_EVERY_MS = 60_000;
const TRIM_CHUNK = 500;
/** Longer than anybody waits for an answer. */
const REPLY_KEPT_MS = 3_700_000;
const MAX_MOVED = 256;
const NOBODY = { principal: '', token: undefined };

/** Payloads and replies that nobody needs any more, and messages that a lost agent has not taken on. */
export class MessageUpkeep implements Chore, LossHook {
  readonly name = 'upkeep of messages';
  readonly #options: MessageUpkeepOptions;
  readonly #trimmedMs = new Map<string, number>();

  constructor(options: MessageUpkeepOptions) {
    this.#options = options;
  }

  async run(context: ChoreContext): Promise<void> {
    const { namespace, storeMs } = context;
    if (storeMs - (this.#trimmedMs.get(namespace) ?? 0) < TRIM_EVERY_MS) return;
    this.#trimmedMs.set(namespace, storeMs);
    await this.#trim(context, SEEN_PREFIX, ({ key }) => isForgotten(key, storeMs), true);
    await this.#trim(context, BLOB_PREFIX, ({ key }) => blobExpirySeconds(key) * 1000 <= storeMs, true);
    await this.#trim(
      context,
      REPLY_PREFIX,
      ({ value }) => {
        const { time } = decodeReply(value);
        return time === undefined || msFromTimestamp(time) + REPLY_KEPT_MS <= storeMs;
      },
      false,
    );
  }

  /** Messages for a capability that the lost agent has not taken on go to another agent that has it. */
  async effects({ namespace, known }: Loss): Promise<LossEffects> {
    const { mailboxes, receivers, links } = this.#options;
    const checks: { key: string; revision: bigint }[] = [];
    const puts: { key: string; value: Uint8Array }[] = [];
    const deletes: string[] = [];
    let more = false;
    for (const delivery of mailboxes.of(namespace, known.id)) {
      const { record } = delivery;
      if (record.capability === '' || record.wantsAnswer || (record.accepted && !record.idempotent)) continue;
      const message = record.item.case === 'message' ? record.item.value : undefined;
      const sent = message && { namespace, message, agentId: message.source, caller: NOBODY };
      const mayReceive = sent && links.mayReceive(sent);
      const to = other(receivers, namespace, record, mayReceive);
      if (to === undefined) continue;
      more = puts.length === MAX_MOVED;
      if (more) break;
      const key = mailKey(known.id, delivery.id);
      checks.push({ key, revision: delivery.revision });
      deletes.push(key);
      // Its attempts go on growing, so that the lost one can tell nothing of it any more. Moved ones keep their order among
      // each other: they are looked at in that of the mailbox.
      const moved = {
        ...record,
        agentId: to,
        accepted: false,
        sessionEpoch: 0n,
        createdRevision: 0n,
        index: puts.length,
      };
      puts.push({ key: mailKey(to, delivery.id), value: encodeDelivery(moved) });
    }
    if (puts.length === 0) return {};
    return {
      checks,
      puts,
      deletes,
      summary: `${puts.length} messages given to others with the capability`,
      more,
    };
  }

  /** @param ordered whether those that may go come first */
  async #trim(
    { namespace, fence }: ChoreContext,
    prefix: string,
    mayGo: (entry: { key: string; value: Uint8Array }) => boolean,
    ordered: boolean,
  ): Promise<void> {
    const { store } = this.#options;
    let after: string | undefined;
    for (;;) {
      const from = after === undefined ? {} : { after };
      const page = await store.scan(namespace, { prefix, limit: TRIM_CHUNK, ...from });
      const over = page.entries.filter(mayGo).map(({ key }) => key);
      if (over.length > 0) await store.commit({ namespace, checks: [fence], deletes: over });
      after = page.entries.at(-1)?.key;
      if (!page.more || after === undefined || (ordered && over.length < page.entries.length)) return;
    }
  }
}

/** Those of one ordering key go to one agent, the same that gets the next ones of that key. */
function other(
  receivers: Receivers,
  namespace: string,
  record: DeliveryRecord,
  mayReceive: ((agentId: string) => boolean) | undefined,
): string | undefined {
  const { capability, agentId: except } = record;
  try {
    const orderingKey = placingKeyOf(record);
    const to = receivers.withCapability(namespace, capability, {
      orderingKey,
      who: 'living',
      except,
      mayReceive,
    });
    return mayReceive === undefined || mayReceive(to) ? to : undefined;
  } catch {
    // Nobody else is there: it waits for the lost one, or expires.
    return undefined;
  }
}
