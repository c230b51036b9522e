import type { Clock } from '../../../lib/clock.ts';
import type { KnownPolicy } from './link-policy-view.ts';
import { type Rate, TokenBuckets } from './token-buckets.ts';

const MAX_BUCKETS = 10_000;
const MAX_COUNTED = 100_000;
const MIN_RATE = 0.001;

/**
 * How much throttling policies let pass, over all replicas: each counts what it lets pass at once, and what the others let pass
 * when it comes by in the change log. So replicas exceed a rate by no more than what they pass before they hear of each other.
 */
export class Throttles {
  readonly #clock: Clock;
  readonly #buckets = new TokenBuckets({ max: MAX_BUCKETS });
  /** Deliveries that were counted here and have not come by yet. */
  readonly #counted = new Set<string>();

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  /** `waitMs` 0: one may pass; `giveBack`: it did not after all. */
  take(
    namespace: string,
    known: KnownPolicy,
    sender: string,
    receiver: string,
  ): { waitMs: number; giveBack: () => void } {
    const rate = rateOf(known);
    if (rate === undefined) return { waitMs: 0, giveBack: () => {} };
    const name = bucketOf(namespace, known, sender, receiver);
    const waitMs = this.#buckets.take(name, rate, this.#clock.monoMs());
    return { waitMs, giveBack: () => this.#buckets.giveBack(name, rate) };
  }

  /** The delivery was counted by `take`. False: that was said before, for it was stored or is being stored. */
  counted(namespace: string, deliveryId: string): boolean {
    const name = `${namespace}/${deliveryId}`;
    if (this.#counted.has(name)) return false;
    if (this.#counted.size >= MAX_COUNTED) this.#counted.clear();
    this.#counted.add(name);
    return true;
  }

  /** It was not stored, as far as is known: it counts if it comes by. False: it came by already. */
  uncounted(namespace: string, deliveryId: string): boolean {
    return this.#counted.delete(`${namespace}/${deliveryId}`);
  }

  /** A delivery came by in the change log. */
  seen(namespace: string, known: KnownPolicy, deliveryId: string, sender: string, receiver: string): void {
    if (this.#counted.delete(`${namespace}/${deliveryId}`)) return;
    const rate = rateOf(known);
    if (rate === undefined) return;
    this.#buckets.taken(bucketOf(namespace, known, sender, receiver), rate, this.#clock.monoMs());
  }
}

function rateOf({ policy: { action } }: KnownPolicy): Rate | undefined {
  if (action.case !== 'throttle') return undefined;
  const { burst } = action.value;
  // One that was stored before there was a bound would have a wait without end.
  const maxPerSecond = Math.max(MIN_RATE, action.value.maxPerSecond);
  return { perSecond: maxPerSecond, burst: burst === 0 ? Math.max(1, maxPerSecond) : burst };
}

/** A policy that was changed begins anew. */
function bucketOf(namespace: string, known: KnownPolicy, sender: string, receiver: string): string {
  const { action } = known.policy;
  const perLink = action.case === 'throttle' && action.value.perLink;
  return `${namespace}/${known.id}/${known.revision}${perLink ? `/${sender}/${receiver}` : ''}`;
}
