import { create } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type RedriveDeadLettersRequest,
  RedriveDeadLettersRequestSchema,
  type RedriveDeadLettersResponse,
  RedriveDeadLettersResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import {
  type DeliveryRecord,
  DeliveryRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { DeliveriesConfig } from '../../../config/config.ts';
import { DomainError } from '../../../lib/errors.ts';
import type { Ids } from '../../../lib/ids.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { agentNotFound, contention, mailboxFull } from '../../agent/errors.ts';
import { namespaceOf } from '../../namespaces.ts';
import { Mutation } from '../../requests.ts';
import { encodeDelivery, mailKey } from '../delivery-record.ts';
import { LinkRefusal, type Links, type Routing } from '../links/links.ts';
import type { Mailboxes } from '../mailboxes.ts';
import { type Letter, wantedLetters } from './letters.ts';
import { ONLY_ONE, targetOfDelivery } from './message-record.ts';
import { RenewedPayloads } from './renewed-payloads.ts';

export interface RedriveOptions {
  store: Store;
  storeTime: StoreTime;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  links: Links;
  ids: Ids;
  config: DeliveriesConfig;
  maxMailbox: number;
  /** How long payloads are kept after their message expired: as long as dead letters. */
  keptMs: number;
}

const ATTEMPTS = 8;
const MAX_REDRIVEN = 256;

interface How {
  /** '': to the same agent. */
  to: string;
  caller: Caller;
  storeMs: number;
  payloads: RenewedPayloads;
  /** Are added to: what link policies made of the letters. */
  routings: Routing[];
}

/** What is put back in one commit. */
interface Back {
  chosen: Letter[];
  records: DeliveryRecord[];
}

/** Puts dead letters back into mailboxes. */
export class Redrive {
  readonly #options: RedriveOptions;

  constructor(options: RedriveOptions) {
    this.#options = options;
  }

  /**
   * What link policies keep back, or has lost its payload, stays a dead letter.
   * @throws DomainError DEAD_LETTER_NOT_FOUND, AGENT_NOT_FOUND, MAILBOX_FULL, REQUEST_ID_REUSED, CONTENTION; LINK_MUTED,
   * LINK_THROTTLED when policies keep all of them back
   */
  async run(request: RedriveDeadLettersRequest, caller: Caller): Promise<RedriveDeadLettersResponse> {
    const { store, storeTime, config, keptMs } = this.#options;
    const namespace = namespaceOf(request);
    const mutation = new Mutation({
      store,
      namespace,
      principal: caller.principal,
      method: 'RedriveDeadLetters',
      requestId: request.requestId,
      input: { schema: RedriveDeadLettersRequestSchema, message: request },
      output: RedriveDeadLettersResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return earlier.response;
    const payloads = new RenewedPayloads({ ...this.#options, namespace });
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const letters = await wantedLetters(store, namespace, request);
      const wanted = letters.slice(0, MAX_REDRIVEN);
      const storeMs = await storeTime.exact();
      await payloads.read(wanted);
      const routings: Routing[] = [];
      try {
        const how = { to: request.toAgentId, caller, storeMs, payloads, routings };
        const { chosen, records } = this.#back(namespace, wanted, how);
        await payloads.renew(records, storeMs + config.expireAfterMs + keptMs);
        const response = create(RedriveDeadLettersResponseSchema, {
          redriven: chosen.length,
          left: letters.length - chosen.length,
        });
        const outcome = await store.commit({
          namespace,
          checks: chosen.map(({ entry: { key, revision } }) => ({ key, revision })),
          puts: records.map((record) => ({
            key: mailKey(record.agentId, record.id),
            value: encodeDelivery(record),
          })),
          deletes: chosen.flatMap(({ entry, record }) => [entry.key, ...ownPayload(record)]),
          ...mutation.record(response),
        });
        if (outcome.kind === 'committed') {
          for (const routing of routings.splice(0)) routing.stored();
          return response;
        }
        if (outcome.kind === 'repeated') return mutation.repeated(outcome).response;
      } finally {
        for (const routing of routings) routing.undo();
      }
    }
    throw contention();
  }

  #back(namespace: string, letters: readonly Letter[], how: How): Back {
    const back: Back = { chosen: [], records: [] };
    const added = new Map<string, number>();
    let refused: DomainError | undefined;
    for (const letter of letters) {
      if (!how.payloads.has(letter.record)) {
        refused ??= payloadGone(letter.record.id);
        continue;
      }
      try {
        this.#add(back, added, namespace, letter, how);
      } catch (error) {
        if (!(error instanceof LinkRefusal)) throw error;
        error.tell();
        refused ??= error;
      }
    }
    if (refused !== undefined && back.chosen.length === 0) throw refused;
    return back;
  }

  #add(back: Back, added: Map<string, number>, namespace: string, letter: Letter, how: How): void {
    const { directory, mailboxes, ids, config, maxMailbox } = this.#options;
    const { to, caller, storeMs } = how;
    const record = create(DeliveryRecordSchema);
    Object.assign(record, letter.record);
    const wanted = to === '' ? record.agentId : to;
    const routing = this.#route(namespace, record, wanted, caller);
    if (routing !== undefined) how.routings.push(routing);
    const agentId = routing?.to[0] ?? wanted;
    const mark = routing?.marks.get(agentId);
    if (directory.get(namespace, agentId) === undefined) throw agentNotFound(namespace, agentId);
    const count = added.get(agentId) ?? mailboxes.count(namespace, agentId);
    if (count >= maxMailbox) throw mailboxFull(agentId, maxMailbox);
    added.set(agentId, count + 1);
    // A new delivery with the old item: tries and attempts begin anew, nobody waits for an answer any more.
    Object.assign(record, {
      id: `re-${ids.uuid()}`,
      agentId,
      accepted: false,
      attempt: 0n,
      sessionEpoch: 0n,
      tries: 0,
      createdRevision: 0n,
      index: back.chosen.length,
      wantsAnswer: false,
      linkPolicyId: mark?.policyId ?? '',
      reroutedFrom: mark?.reroutedFrom ?? '',
      lastAnswer: '',
      lastError: '',
      createTime: timestampFromMs(storeMs),
      expireTime: timestampFromMs(storeMs + config.expireAfterMs),
    });
    delete record.notBefore;
    routing?.counted(() => record.id);
    back.chosen.push(letter);
    back.records.push(record);
  }

  /** Policies look at who sent the message, not at who puts it back. */
  #route(namespace: string, record: DeliveryRecord, agentId: string, caller: Caller): Routing | undefined {
    if (record.item.case !== 'message') return undefined;
    const message = record.item.value;
    const sent = {
      namespace,
      message,
      agentId: message.source,
      caller,
      target: targetOfDelivery(record),
      call: false,
    };
    return this.#options.links.route(sent, [agentId]);
  }
}

/** The payload of a message that had one receiver only is needed by nobody else. */
const ownPayload = ({ id, payloadKey }: DeliveryRecord): string[] =>
  payloadKey !== '' && id.startsWith(ONLY_ONE) ? [payloadKey] : [];

const payloadGone = (id: string): DomainError =>
  new DomainError({
    reason: ErrorReason.DEAD_LETTER_NOT_FOUND,
    message: `the payload of dead letter ${id} is there no more`,
  });
