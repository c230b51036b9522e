import { fromBinary } from '@bufbuild/protobuf';
import { LeaseRecordSchema } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { decodeRecord } from '../../../src/domain/agent/record.ts';
import { attemptsOf, decodeDelivery } from '../../../src/domain/coordination/delivery-record.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { openRedisStore } from '../../../src/state/redis/store.ts';
import type { ChangeBatch, Store } from '../../../src/state/store.ts';

interface SeenDelivery {
  attempt: bigint;
  tries: number;
  sessionEpoch: bigint;
}

/** What the log says of one delivery that left its mailbox. */
export interface Finished {
  agentId: string;
  attempt: bigint;
}

/**
 * Reads along in the store's own change log what no caller sees: who takes leases and with which token, which session
 * claims which attempt, who owns which epoch.
 */
export class LogReader {
  readonly faults: string[] = [];
  /** Deliveries of which the log was seen from their last attempt to their end. */
  readonly finished = new Map<string, Finished>();
  readonly leases = { changes: 0 };
  readonly #store: Store;
  /** The highest token of each lease, by namespace and key, and who holds it. */
  readonly #tokens = new Map<string, { token: bigint; holder: string }>();
  readonly #epochs = new Map<string, { epoch: bigint; owner: string }>();
  readonly #mail = new Map<string, SeenDelivery>();

  private constructor(store: Store) {
    this.#store = store;
  }

  static async open(url: string): Promise<LogReader> {
    const store = await openRedisStore({
      ...{ url, database: 'agents_db', keyPrefix: 'orchestrator', minReplicas: 0, waitTimeoutMs: 1_000 },
      ...{ clock: systemClock, log: silentLogger },
    });
    const reader = new LogReader(store);
    await store.follow({
      batch: (batch) => reader.#batch(batch),
      // What was deleted while nobody looked has no end in the log.
      snapshot: () => reader.#mail.clear(),
      live: () => {},
    });
    return reader;
  }

  get store(): Store {
    return this.#store;
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  #batch({ namespace, changes, revision }: ChangeBatch): void {
    for (const { key, value } of changes) {
      const [kind = '', first = '', second = ''] = key.split('/');
      if (kind === 'lease' && value !== undefined) this.#lease(`${namespace} ${key}`, value);
      else if (kind === 'agent' && value !== undefined) this.#agent(first, value);
      else if (kind === 'mail' && value !== undefined) this.#delivery(second, value, revision);
      else if (kind === 'mail') this.#over(first, second);
    }
  }

  #lease(name: string, value: Uint8Array): void {
    const { fencingToken: token, replicaId, replicaStartMs } = fromBinary(LeaseRecordSchema, value);
    const holder = `${replicaId} of ${replicaStartMs}`;
    const last = this.#tokens.get(name);
    this.leases.changes += 1;
    // Given back: its token stays, so that the next one is higher.
    const sameHand = replicaId === '' || holder === last?.holder;
    if (last !== undefined && (token < last.token || (token === last.token && !sameHand))) {
      this.faults.push(`${name}: token ${token} for ${holder} after ${last.token} for ${last.holder}`);
    }
    this.#tokens.set(name, { token, holder });
  }

  #agent(agentId: string, value: Uint8Array): void {
    const { sessionEpoch: epoch, ownerReplicaId, attachTime } = decodeRecord(value);
    if (epoch === 0n) return;
    const owner = `${ownerReplicaId} since ${attachTime?.seconds}.${attachTime?.nanos}`;
    const last = this.#epochs.get(agentId);
    if (last !== undefined && epoch === last.epoch && owner !== last.owner) {
      this.faults.push(`${agentId}: epoch ${epoch} of ${owner} was that of ${last.owner}`);
    }
    // Told again after a store fell back, an older one may come before the next.
    if (last === undefined || epoch >= last.epoch) this.#epochs.set(agentId, { epoch, owner });
  }

  #delivery(deliveryId: string, value: Uint8Array, revision: bigint): void {
    const record = decodeDelivery(value);
    const { attempt, sessionEpoch } = record;
    const tries = attemptsOf(record);
    const last = this.#mail.get(deliveryId);
    if (last !== undefined && attempt < last.attempt) {
      this.faults.push(`${deliveryId}: attempt ${attempt} after ${last.attempt} at revision ${revision}`);
    } else if (last !== undefined && tries > last.tries && attempt === last.attempt) {
      this.faults.push(`${deliveryId}: attempt ${attempt} was claimed twice, again at revision ${revision}`);
    }
    this.#mail.set(deliveryId, { attempt, tries, sessionEpoch });
  }

  #over(agentId: string, deliveryId: string): void {
    const last = this.#mail.get(deliveryId);
    if (last !== undefined) this.finished.set(deliveryId, { agentId, attempt: last.attempt });
    this.#mail.delete(deliveryId);
  }
}
