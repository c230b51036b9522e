import type { DeliveryRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { ChangeBatch } from '../../../state/store.ts';
import type { KnownDelivery, Mailboxes, MailObserver } from '../mailboxes.ts';
import { orderingKeyOf } from './message-record.ts';

type Counts = Map<string, Map<string, number>>;

/** Which agents have unfinished messages of an ordering key, of those sent to a capability. Counted as mailboxes change. */
export class KeyHolders implements MailObserver {
  readonly #mailboxes: Mailboxes;
  /** By namespace; by capability and key; by agent. */
  readonly #namespaces = new Map<string, Counts>();

  constructor(mailboxes: Mailboxes) {
    this.#mailboxes = mailboxes;
    mailboxes.observe(this);
  }

  has(namespace: string, capability: string, orderingKey: string, agentId: string): boolean {
    return this.#namespaces.get(namespace)?.get(nameOf(capability, orderingKey))?.has(agentId) ?? false;
  }

  changed(
    { namespace }: ChangeBatch,
    before: KnownDelivery | undefined,
    after: KnownDelivery | undefined,
  ): void {
    // A rewrite keeps the key.
    if (before === undefined && after !== undefined) this.#count(namespace, after, 1);
    else if (before !== undefined && after === undefined) this.#count(namespace, before, -1);
  }

  replaced(namespace: string): void {
    this.#namespaces.delete(namespace);
    for (const known of this.#mailboxes.all(namespace)) this.#count(namespace, known, 1);
  }

  #count(namespace: string, { agentId, record }: KnownDelivery, by: 1 | -1): void {
    if (record.capability === '' || record.wantsAnswer) return;
    const key = placingKeyOf(record);
    if (key === '') return;
    let counts = this.#namespaces.get(namespace);
    if (counts === undefined) {
      counts = new Map();
      this.#namespaces.set(namespace, counts);
    }
    const name = nameOf(record.capability, key);
    const agents = counts.get(name) ?? new Map<string, number>();
    const count = (agents.get(agentId) ?? 0) + by;
    if (count > 0) counts.set(name, agents.set(agentId, count));
    else if (agents.delete(agentId) && agents.size === 0) counts.delete(name);
  }
}

/** The ordering key that decides which agent with a capability gets a message; '': its key is only its source, and any will do. */
export function placingKeyOf(record: DeliveryRecord): string {
  if (record.item.case !== 'message') return '';
  const key = orderingKeyOf(record);
  return key === record.item.value.source ? '' : key;
}

const nameOf = (capability: string, orderingKey: string): string => `${capability}\0${orderingKey}`;
