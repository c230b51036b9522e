import { fromBinary } from '@bufbuild/protobuf';
import { DeadLetterRecordSchema } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromTimestamp } from '../../lib/proto-time.ts';
import type { Store } from '../../state/store.ts';
import type { Chore, ChoreContext } from '../agent/care/chore.ts';
import type { AgentDirectory } from '../agent/directory.ts';
import { agentKey } from '../agent/record.ts';
import type { Deliveries } from './deliveries.ts';
import { DEAD_PREFIX, mailKey } from './delivery-record.ts';
import { isExpired } from './delivery-rules.ts';
import type { KnownDelivery, Mailboxes } from './mailboxes.ts';

export interface DeliveryUpkeepOptions {
  store: Store;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  deliveries: Deliveries;
  /** How long dead letters are kept. */
  deadLettersMs: number;
}

/** Deliveries given up or taken away in one round. */
const MAX_OVER = 256;
const TRIM_EVERY_MS = 600_000;
const TRIM_CHUNK = 1000;

/** Gives up deliveries whose time has passed, takes away those of agents that are no more, and removes dead letters that nobody fetched for long. */
export class DeliveryUpkeep implements Chore {
  readonly name = 'upkeep of mailboxes';
  readonly #options: DeliveryUpkeepOptions;
  readonly #trimmedMs = new Map<string, number>();

  constructor(options: DeliveryUpkeepOptions) {
    this.#options = options;
  }

  hasWork(namespace: string): boolean {
    return this.#options.mailboxes.total(namespace) > 0;
  }

  async run(context: ChoreContext): Promise<void> {
    const { mailboxes, deliveries, directory } = this.#options;
    const { namespace, storeMs, fence } = context;
    const over: KnownDelivery[] = [];
    for (const known of mailboxes.all(namespace)) {
      const gone = directory.get(namespace, known.agentId) === undefined;
      if (gone || isExpired(known.record, storeMs)) over.push(known);
      if (over.length === MAX_OVER) break;
    }
    for (const known of over) {
      const gone = directory.get(namespace, known.agentId) === undefined;
      // A command to an agent that is not there any more is of no interest to anybody.
      if (gone && known.record.item.case === 'command') await this.#takeAway(known, context);
      else if (gone) await deliveries.giveUp(known, 'agent_gone', fence);
      else await deliveries.giveUp(known, 'expired', fence);
    }
    if (storeMs - (this.#trimmedMs.get(namespace) ?? 0) < TRIM_EVERY_MS) return;
    this.#trimmedMs.set(namespace, storeMs);
    await this.#trim(context);
  }

  /** It was put there while its agent was being deregistered: a later agent of the same name is not to get it. */
  async #takeAway(
    { agentId, id, revision }: KnownDelivery,
    { namespace, fence }: ChoreContext,
  ): Promise<void> {
    const key = mailKey(agentId, id);
    const nobody = { key: agentKey(agentId), revision: 0n };
    await this.#options.store.commit({
      namespace,
      checks: [fence, nobody, { key, revision }],
      deletes: [key],
    });
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
