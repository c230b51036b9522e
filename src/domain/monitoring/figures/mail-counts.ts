import type { ChangeBatch, Entry, Position } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import { isDeadKey } from '../../coordination/delivery-record.ts';
import type { KnownDelivery, Mailboxes, MailObserver } from '../../coordination/mailboxes.ts';
import { Rate } from './rates.ts';

interface Counts {
  dead: Set<string>;
  messages: number;
  rate: Rate;
}

/** Dead letters and messages, counted as the change log tells of them: every replica counts those of all. */
export class MailCounts implements View, MailObserver {
  readonly #namespaces = new Map<string, Counts>();

  constructor(options: { mailboxes: Mailboxes }) {
    options.mailboxes.observe(this);
  }

  deadLetters(namespace: string): number {
    return this.#namespaces.get(namespace)?.dead.size ?? 0;
  }

  messagesRate(namespace: string): number {
    return this.#namespaces.get(namespace)?.rate.perSecond() ?? 0;
  }

  /** Call it every second. */
  read(nowMs: number): void {
    for (const { rate, messages } of this.#namespaces.values()) rate.read(messages, nowMs);
  }

  changed(
    { namespace }: ChangeBatch,
    before: KnownDelivery | undefined,
    after: KnownDelivery | undefined,
  ): void {
    if (before !== undefined || after?.record.item.case !== 'message') return;
    this.#of(namespace).messages += 1;
  }

  replaced(): void {}

  reset(namespace: string, _position: Position, entries: readonly Entry[]): void {
    const dead = entries.filter(({ key }) => isDeadKey(key)).map(({ key }) => key);
    if (dead.length > 0 || this.#namespaces.has(namespace)) this.#of(namespace).dead = new Set(dead);
  }

  apply({ namespace, changes }: ChangeBatch): void {
    for (const { key, value } of changes) {
      if (!isDeadKey(key)) continue;
      if (value === undefined) this.#of(namespace).dead.delete(key);
      else this.#of(namespace).dead.add(key);
    }
  }

  #of(namespace: string): Counts {
    let counts = this.#namespaces.get(namespace);
    if (counts === undefined) {
      counts = { dead: new Set(), messages: 0, rate: new Rate() };
      this.#namespaces.set(namespace, counts);
    }
    return counts;
  }
}
