import { create, fromBinary } from '@bufbuild/protobuf';
import {
  type MessageTrace,
  MessageTrace_Step,
  MessageTraceSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import {
  DeadLetterRecordSchema,
  type DeliveryRecord,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { durationFromMs, msFromTimestamp, timestampFromMs } from '../../../lib/proto-time.ts';
import type { ChangeBatch, LiveRecord, Position } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import { attemptsOf, isDeadKey } from '../delivery-record.ts';
import type { Links } from '../links/links.ts';
import { readRefusals } from '../links/refusals.ts';
import type { KnownDelivery, Mailboxes, MailObserver } from '../mailboxes.ts';
import { orderingKeyOf, targetOfDelivery } from '../messages/message-record.ts';
import type { LinkCounts } from './link-counts.ts';
import { type Beside, besideOf, deadStep, type Step, stepsOf } from './steps.ts';

/** A watcher of the traffic of one namespace. Called in order. */
export interface Ear {
  /** `record` is absent for what link policies kept back. */
  hear(trace: MessageTrace, record: DeliveryRecord | undefined): void;
  /** Traffic may have been missed: the store was replaced, or its log was outrun. */
  lost(position: Position): void;
}

export interface TrafficOptions {
  mailboxes: Mailboxes;
  links: Links;
  counts: LinkCounts;
  /** The store's clock as this replica reckons it, milliseconds. */
  storeMs(): number;
}

const { STORED, REROUTED, MOVED, DECLINED, FAILED } = MessageTrace_Step;

/**
 * Makes steps of messages from what changes in mailboxes. The change log reaches every replica, and so every replica knows the
 * traffic of all. Counts are always kept; traces are made while somebody watches.
 */
export class Traffic implements MailObserver, View {
  readonly #options: TrafficOptions;
  readonly #ears = new Map<string, Set<Ear>>();
  readonly #positions = new Map<string, Position>();
  readonly #startMs = new Map<string, number>();
  #beside: { batch: ChangeBatch; beside: Beside } | undefined;

  constructor(options: TrafficOptions) {
    this.#options = options;
    options.mailboxes.observe(this);
  }

  /** Listens to the traffic of a namespace from now on; the returned function ends that. */
  listen(namespace: string, ear: Ear): () => void {
    const ears = this.#ears.get(namespace) ?? new Set();
    this.#ears.set(namespace, ears.add(ear));
    return () => {
      ears.delete(ear);
      if (ears.size === 0 && this.#ears.get(namespace) === ears) this.#ears.delete(namespace);
    };
  }

  /** Up to where the traffic of a namespace was told. */
  revision(namespace: string): bigint {
    return this.#positions.get(namespace)?.revision ?? 0n;
  }

  /** Since when the counts of a namespace are whole, by the store's clock. */
  startMs(namespace: string): number | undefined {
    return this.#startMs.get(namespace);
  }

  replaced(namespace: string, position: Position): void {
    const { counts, storeMs } = this.#options;
    const isNew = !this.#positions.has(namespace);
    this.#positions.set(namespace, position);
    this.#startMs.set(namespace, storeMs());
    counts.restart(namespace);
    // Of a namespace that begins, nothing was missed: it has to have agents before it has traffic.
    if (!isNew) for (const ear of this.#ears.get(namespace) ?? []) ear.lost(position);
  }

  changed(batch: ChangeBatch, before: KnownDelivery | undefined, after: KnownDelivery | undefined): void {
    const known = after ?? before;
    if (known?.record.item.case !== 'message') return;
    const { links, counts } = this.#options;
    const beside = this.#besideOf(batch);
    const steps = stepsOf(before, after, beside);
    for (const step of steps) {
      if (step.step === STORED) links.seen(batch.namespace, known.record);
      if (step.step === MOVED)
        counts.left(batch.namespace, known.record.item.value.source, step.fromAgentId ?? '');
      this.#tell(batch, known.record, step);
    }
  }

  reset(): void {}

  apply(batch: ChangeBatch): void {
    const { namespace, epoch, revision } = batch;
    for (const { key, value } of batch.changes) {
      if (value === undefined || !isDeadKey(key)) continue;
      const letter = fromBinary(DeadLetterRecordSchema, value);
      const { delivery } = letter;
      // Of one that was in a mailbox its end was told; this one got no place in it.
      const isEnd = delivery && this.#besideOf(batch).takenFrom.get(delivery.id) === delivery.agentId;
      if (delivery === undefined || isEnd || delivery.item.case !== 'message') continue;
      this.#tell(batch, delivery, deadStep(letter), true);
    }
    this.#beside = undefined;
    this.#positions.set(namespace, { epoch, revision });
    if (!this.#startMs.has(namespace)) this.#startMs.set(namespace, batch.timeMs);
  }

  live(records: readonly LiveRecord[]): void {
    for (const record of records) {
      const { namespace } = record;
      for (const trace of readRefusals(record)) {
        const { step, source, agentId, count, bytes } = trace;
        const timeMs = trace.time === undefined ? this.#options.storeMs() : msFromTimestamp(trace.time);
        const { counts } = this.#options;
        const again = false;
        counts.count({
          namespace,
          sender: source,
          receiver: agentId,
          step,
          again,
          timeMs,
          latencyMs: 0,
          bytes,
          count,
        });
        for (const ear of this.#ears.get(namespace) ?? []) ear.hear(trace, undefined);
      }
    }
  }

  #besideOf(batch: ChangeBatch): Beside {
    if (this.#beside?.batch !== batch) this.#beside = { batch, beside: besideOf(batch) };
    return this.#beside.beside;
  }

  /** @param never it was never in its mailbox */
  #tell(batch: ChangeBatch, record: DeliveryRecord, step: Step, never = false): void {
    if (record.item.case !== 'message') return;
    const { namespace, timeMs } = batch;
    const latencyMs =
      record.createTime === undefined ? 0 : Math.max(0, timeMs - msFromTimestamp(record.createTime));
    const again = (step.step === DECLINED || step.step === FAILED) && step.retryTime !== undefined;
    const { counts } = this.#options;
    const counted = {
      namespace,
      sender: record.item.value.source,
      receiver: record.agentId,
      step: step.step,
      again,
      timeMs,
      latencyMs,
      bytes: record.payloadBytes,
      count: 1,
    };
    if (never) counts.count(Object.assign({}, counted, { step: STORED, bytes: 0 }));
    counts.count(counted);
    const ears = this.#ears.get(namespace);
    if (ears === undefined) return;
    const trace = traceOf(batch, record, step, latencyMs);
    for (const ear of ears) ear.hear(trace, record);
  }
}

function traceOf(batch: ChangeBatch, record: DeliveryRecord, step: Step, latencyMs: number): MessageTrace {
  const message = record.item.case === 'message' ? record.item.value : undefined;
  const stored = step.step === STORED || step.step === REROUTED;
  // Assigned field by field: create() with values looks each of them up.
  const trace = create(MessageTraceSchema);
  trace.step = step.step;
  trace.time = timestampFromMs(batch.timeMs);
  trace.revision = batch.revision;
  trace.deliveryId = record.id;
  trace.messageId = message?.id ?? '';
  trace.type = message?.type ?? '';
  trace.source = message?.source ?? '';
  trace.target = targetOfDelivery(record);
  trace.agentId = record.agentId;
  trace.orderingKey = orderingKeyOf(record);
  trace.tries = attemptsOf(record);
  trace.latency = durationFromMs(stored ? 0 : latencyMs);
  trace.bytes = record.payloadBytes;
  trace.call = record.wantsAnswer;
  trace.reason = step.reason ?? '';
  trace.error = step.error ?? '';
  trace.policyId = record.linkPolicyId;
  trace.fromAgentId = step.fromAgentId ?? '';
  trace.count = 1;
  if (step.retryTime !== undefined) trace.retryTime = step.retryTime;
  return trace;
}
