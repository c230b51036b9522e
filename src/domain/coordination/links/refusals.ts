import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Message } from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  type MessageTrace,
  type MessageTrace_Step,
  MessageTraceSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { RefusalsRecordSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
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

interface Pending {
  kinds: Map<string, MessageTrace>;
  omitted: number;
}

/**
 * Tells all replicas what link policies kept back. It leaves no trace in the change log, for nothing was stored; so each replica
 * sums it up in a soft record, once a second while there is something to tell.
 */
export class Refusals {
  readonly #options: RefusalsOptions;
  readonly #pending = new Map<string, Pending>();
  #sequence = 0;

  constructor(options: RefusalsOptions) {
    this.#options = options;
  }

  add({ namespace, step, message, agentId, policyId, target, call }: Refusal): void {
    let pending = this.#pending.get(namespace);
    if (pending === undefined) {
      pending = { kinds: new Map(), omitted: 0 };
      this.#pending.set(namespace, pending);
    }
    const kind = JSON.stringify([step, message.source, message.type, agentId, policyId]);
    const alike = pending.kinds.get(kind);
    if (alike !== undefined) {
      alike.count += 1;
    } else if (pending.kinds.size >= MAX_KINDS) {
      pending.omitted += 1;
    } else {
      const trace = create(MessageTraceSchema, {
        step,
        time: timestampFromMs(this.#options.storeTime.ms()),
        messageId: message.id,
        type: message.type,
        source: message.source,
        target,
        agentId,
        bytes: payloadSize(message.data),
        call,
        policyId,
        count: 1,
      });
      pending.kinds.set(kind, trace);
    }
  }

  /** Call it every TELL_REFUSALS_MS. */
  async flush(): Promise<void> {
    if (this.#pending.size === 0) return;
    const { store, replicaId, startMs } = this.#options;
    this.#sequence += 1;
    const records = [...this.#pending].map(([namespace, { kinds, omitted }]): LiveRecord => {
      const record = create(RefusalsRecordSchema, { traces: [...kinds.values()], omitted });
      const value = toBinary(RefusalsRecordSchema, record);
      const key = PREFIX + replicaId;
      return { namespace, key, epoch: BigInt(startMs), sequence: this.#sequence, value };
    });
    this.#pending.clear();
    await store.putLive(records);
  }
}

/** What a replica told, if the soft record is of that kind. */
export function readRefusals({ key, value }: LiveRecord): readonly MessageTrace[] {
  if (!key.startsWith(PREFIX) || value === undefined) return [];
  return fromBinary(RefusalsRecordSchema, value).traces;
}
