import { fromBinary } from '@bufbuild/protobuf';
import { DeadLetterRecordSchema } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromTimestamp } from '../../lib/proto-time.ts';
import type { Store } from '../../state/store.ts';
import type { Chore, ChoreContext } from '../agent/care/chore.ts';
import type { Deliveries } from './deliveries.ts';
import { DEAD_PREFIX } from './delivery-record.ts';
import { isExpired } from './delivery-rules.ts';
import type { Mailboxes } from './mailboxes.ts';

export interface DeliveryUpkeepOptions {
  store: Store;
  mailboxes: Mailboxes;
  deliveries: Deliveries;
  /** How long dead letters are kept. */
  deadLettersMs: number;
}

/** Deliveries given up in one round. */
const MAX_EXPIRED = 256;
const TRIM_EVERY_MS = 600_000;
const TRIM_CHUNK = 1000;

/** Gives up deliveries whose time has passed, and removes dead letters that nobody fetched for long. */
export class DeliveryUpkeep implements Chore {
  readonly name = 'upkeep of mailboxes';
  readonly #options: DeliveryUpkeepOptions;
  readonly #trimmedMs = new Map<string, number>();

  constructor(options: DeliveryUpkeepOptions) {
    this.#options = options;
  }

  async run(context: ChoreContext): Promise<void> {
    const { mailboxes, deliveries } = this.#options;
    const { namespace, storeMs, fence } = context;
    const expired = [];
    for (const known of mailboxes.all(namespace)) {
      if (isExpired(known.record, storeMs)) expired.push(known);
      if (expired.length === MAX_EXPIRED) break;
    }
    for (const known of expired) await deliveries.giveUp(known, 'expired', fence);
    if (storeMs - (this.#trimmedMs.get(namespace) ?? 0) < TRIM_EVERY_MS) return;
    this.#trimmedMs.set(namespace, storeMs);
    await this.#trim(context);
  }

  async #trim({ namespace, storeMs, fence }: ChoreContext): Promise<void> {
    const { store, deadLettersMs } = this.#options;
    let after: string | undefined;
    for (;;) {
      const from = after === undefined ? {} : { after };
      const page = await store.scan(namespace, { prefix: DEAD_PREFIX, limit: TRIM_CHUNK, ...from });
      const old = page.entries.filter(({ value }) => {
        const { time } = fromBinary(DeadLetterRecordSchema, value);
        return time === undefined || msFromTimestamp(time) + deadLettersMs <= storeMs;
      });
      if (old.length > 0) {
        await store.commit({ namespace, checks: [fence], deletes: old.map(({ key }) => key) });
      }
      after = page.entries.at(-1)?.key;
      if (!page.more || after === undefined) return;
    }
  }
}
