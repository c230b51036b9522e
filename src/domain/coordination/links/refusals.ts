import { create, fromBinary } from '@bufbuild/protobuf';
import type { Message } from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  type MessageTrace,
  type MessageTrace_Step,
  MessageTraceSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { RefusalsRecordSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { LiveRecord, Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import { payloadSize } from '../messages/message-record.ts';

export interface Refusal {
  namespace: string;
  step: MessageTrace_Step;
  message: Message;
  agentId: string;
  policyId: string;
  target: string;
  call: boolean;
}

export interface RefusalsOptions {
  store: Store;
  storeTime: StoreTime;
  replicaId: string;
  /** Tells this life of the replica from earlier ones, which wrote the same record: its start, Unix milliseconds. */
  startMs: number;
}

/** How often what was kept back is told. */
export const TELL_REFUSALS_MS = 1000;
const PREFIX = 'refused/';
const MAX_KINDS = 64;

/**
 * Tells all replicas what link policies kept back. It leaves no trace in the change log, for nothing was stored; so each replica
 * sums it up in a soft record, once a second while there is something to tell.
 */
export class Refusals {
  readonly #options: RefusalsOptions;
  /** By namespace and kind. */
  readonly #pending = new Map<string, Map<string, MessageTrace>>();
  #untold: readonly LiveRecord[] = [];
  #sequence = 0;

  constructor(options: RefusalsOptions) {
    this.#options = options;
  }

  add({ namespace, step, message, agentId, policyId, target, call }: Refusal): void {
    let kinds = this.#pending.get(namespace);
    if (kinds === undefined) {
      kinds = new Map();
      this.#pending.set(namespace, kinds);
    }
    const own = JSON.stringify([step, message.source, message.type, agentId, policyId]);
    // Beyond so many kinds only their number is told, for each step.
    const more = kinds.size >= MAX_KINDS && !kinds.has(own);
    const kind = more ? JSON.stringify([step]) : own;
    const alike = kinds.get(kind);
    if (alike !== undefined) {
      alike.count += 1;
      return;
    }
    const time = timestampFromMs(this.#options.storeTime.ms());
    const trace = create(MessageTraceSchema, { step, time, count: 1 });
    if (!more) {
      Object.assign(trace, {
        messageId: message.id,
        type: message.type,
        source: message.source,
        target,
        agentId,
        bytes: payloadSize(message.data),
        call,
        policyId,
      });
    }
    kinds.set(kind, trace);
  }

  /** Call it every TELL_REFUSALS_MS. @throws StoreUnavailableError: the same is told the next time */
  async flush(): Promise<void> {
    if (this.#untold.length === 0) this.#untold = this.#take();
    const records = this.#untold;
    if (records.length === 0) return;
    await this.#options.store.putLive(records);
    if (this.#untold === records) this.#untold = [];
  }

  /** Told again they have the same number: who heard of them all the same does not count them twice. */
  #take(): LiveRecord[] {
    if (this.#pending.size === 0) return [];
    const { replicaId, startMs } = this.#options;
    this.#sequence += 1;
    const records = [...this.#pending].map(([namespace, kinds]): LiveRecord => {
      const value = encode(
        RefusalsRecordSchema,
        create(RefusalsRecordSchema, { traces: [...kinds.values()] }),
      );
      return { namespace, key: PREFIX + replicaId, epoch: BigInt(startMs), sequence: this.#sequence, value };
    });
    this.#pending.clear();
    return records;
  }
}

/** What a replica told, if the soft record is of that kind. */
export function readRefusals({ key, value }: LiveRecord): readonly MessageTrace[] {
  if (!key.startsWith(PREFIX) || value === undefined) return [];
  return fromBinary(RefusalsRecordSchema, value).traces;
}
