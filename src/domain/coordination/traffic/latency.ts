import { create } from '@bufbuild/protobuf';
import {
  type MessageLatency,
  MessageLatencySchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { durationFromMs } from '../../../lib/proto-time.ts';

/** Buckets grow by a quarter each, from 0.1 ms to about an hour: quantiles are good to an eighth either way. */
const LEAST_MS = 0.1;
const GROWTH = 1.25;
const BUCKETS = 80;
const LOG_GROWTH = Math.log(GROWTH);
/** After so many values each earlier one counts half. */
const HALVE_AFTER = 1024;

/** A histogram of times in bounded memory, in which older values count less and less. */
export class Latency {
  readonly #buckets = new Float32Array(BUCKETS);
  #weight = 0;
  #sinceHalved = 0;
  #maxMs = 0;
  #count = 0;

  add(ms: number): void {
    const sound = Math.max(0, ms);
    const index = sound <= LEAST_MS ? 0 : Math.ceil(Math.log(sound / LEAST_MS) / LOG_GROWTH);
    const bucket = Math.min(BUCKETS - 1, index);
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    this.#weight += 1;
    this.#count += 1;
    this.#maxMs = Math.max(this.#maxMs, sound);
    this.#sinceHalved += 1;
    if (this.#sinceHalved < HALVE_AFTER) return;
    this.#sinceHalved = 0;
    this.#weight /= 2;
    for (let at = 0; at < BUCKETS; at += 1) this.#buckets[at] = (this.#buckets[at] ?? 0) / 2;
  }

  /** The values of another one too. */
  merge(other: Latency): void {
    for (let at = 0; at < BUCKETS; at += 1) {
      this.#buckets[at] = (this.#buckets[at] ?? 0) + (other.#buckets[at] ?? 0);
    }
    this.#weight += other.#weight;
    this.#count += other.#count;
    this.#maxMs = Math.max(this.#maxMs, other.#maxMs);
  }

  /** The value below which a share of the values lies, milliseconds; undefined without any. */
  quantile(share: number): number | undefined {
    if (this.#count === 0) return undefined;
    let left = this.#weight * share;
    for (let at = 0; at < BUCKETS; at += 1) {
      left -= this.#buckets[at] ?? 0;
      // The middle of its bucket, on a logarithmic scale.
      if (left <= 0) return Math.min(this.#maxMs, LEAST_MS * GROWTH ** (at === 0 ? 0 : at - 0.5));
    }
    return this.#maxMs;
  }

  shown(): MessageLatency {
    const shown = create(MessageLatencySchema, { count: BigInt(this.#count) });
    const p50 = this.quantile(0.5);
    const p99 = this.quantile(0.99);
    if (p50 === undefined || p99 === undefined) return shown;
    shown.p50 = durationFromMs(p50);
    shown.p99 = durationFromMs(p99);
    shown.max = durationFromMs(this.#maxMs);
    return shown;
  }
}
