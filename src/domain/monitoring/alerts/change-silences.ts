import { create } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { SilenceSchema } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  type CreateSilenceRequest,
  CreateSilenceRequestSchema,
  type CreateSilenceResponse,
  CreateSilenceResponseSchema,
  type DeleteSilenceRequest,
  DeleteSilenceRequestSchema,
  type DeleteSilenceResponse,
  DeleteSilenceResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { SilenceRecordSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import type { Ids } from '../../../lib/ids.ts';
import { msFromTimestamp, timestampFromMs } from '../../../lib/proto-time.ts';
import type { Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import { admitNamespace } from '../../agent/admit-namespace.ts';
import { actorOf, type Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { invalidFields, limitReached } from '../../agent/errors.ts';
import { SYSTEM_NAMESPACE } from '../../namespaces.ts';
import { Mutation } from '../../requests.ts';
import type { EventWriter } from '../events.ts';
import { silenceNotFound } from './alert-errors.ts';
import { decodeSilence, encodeSilence, RECORD_FORMAT, silenceKey } from './alert-record.ts';
import type { AlertView } from './alert-view.ts';
import type { PresentAlerts } from './present-alert.ts';
import { endMsOf } from './silencing.ts';

export interface ChangeSilencesOptions {
  store: Store;
  storeTime: Pick<StoreTime, 'exact'>;
  view: AlertView;
  present: PresentAlerts;
  directory: AgentDirectory;
  events: EventWriter;
  ids: Pick<Ids, 'uuid'>;
  maxNamespaces: number;
}

/** In one namespace, those that are over and still kept included. */
export const MAX_SILENCES = 1000;
const YEAR_MS = 366 * 24 * 3_600_000;
const ATTEMPTS = 8;

/** Makes and ends silences. */
export class ChangeSilences {
  readonly #options: ChangeSilencesOptions;

  constructor(options: ChangeSilencesOptions) {
    this.#options = options;
  }

  /** @throws DomainError INVALID_FIELDS, LIMIT_REACHED, REQUEST_ID_REUSED */
  async create(request: CreateSilenceRequest, caller: Caller): Promise<CreateSilenceResponse> {
    const { store, storeTime, view, present, directory, events, ids, maxNamespaces } = this.#options;
    const namespace = request.namespace === '' ? SYSTEM_NAMESPACE : request.namespace;
    const mutation = new Mutation({
      store,
      namespace,
      principal: caller.principal,
      method: 'CreateSilence',
      requestId: request.requestId,
      input: { schema: CreateSilenceRequestSchema, message: request },
      output: CreateSilenceResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return answer(earlier.response, earlier.revision);
    if (namespace !== SYSTEM_NAMESPACE) admitNamespace(directory, namespace, maxNamespaces);
    if (view.silenceCount(namespace) >= MAX_SILENCES)
      throw limitReached(`namespace ${namespace} has its maximum of ${MAX_SILENCES} silences`);
    const nowMs = await storeTime.exact();
    const startMs = request.startTime === undefined ? nowMs : msFromTimestamp(request.startTime);
    const endMs = request.endTime === undefined ? 0 : msFromTimestamp(request.endTime);
    if (endMs <= Math.max(nowMs, startMs)) throw badEnd('must be after start_time and after now');
    if (endMs > nowMs + YEAR_MS) throw badEnd('must be within a year');
    const id = ids.uuid();
    const actor = actorOf(caller, directory);
    const silence = create(SilenceSchema, {
      id,
      namespace: request.namespace,
      matchers: request.matchers,
      startTime: timestampFromMs(startMs),
      endTime: timestampFromMs(endMs),
      actor,
      comment: request.comment,
    });
    const record = create(SilenceRecordSchema, { format: RECORD_FORMAT, silence });
    const response = create(CreateSilenceResponseSchema, {
      silence: present.silence({ namespace, id, record, revision: 0n }),
    });
    const outcome = await store.commit({
      namespace,
      checks: [{ key: silenceKey(id), revision: 0n }],
      puts: [{ key: silenceKey(id), value: encodeSilence(record) }],
      appends: [
        events.append({
          type: 'silence.created',
          severity: Event_Severity.INFO,
          message: `alerts of ${wordsOf(request)} are silenced until ${new Date(endMs).toISOString()}: ${request.comment}`,
          actor,
          attributes: { silence_id: id },
        }),
      ],
      ...mutation.record(response),
    });
    if (outcome.kind === 'conflict') throw contention();
    if (outcome.kind === 'repeated') {
      const { response: first, revision } = mutation.repeated(outcome);
      return answer(first, revision);
    }
    return answer(response, outcome.revision);
  }

  /** Ends it now; its record stays for a while. @throws DomainError SILENCE_NOT_FOUND, REQUEST_ID_REUSED */
  async end(request: DeleteSilenceRequest, caller: Caller): Promise<DeleteSilenceResponse> {
    const { store, storeTime, view, directory, events } = this.#options;
    const { silenceId, requestId } = request;
    const known = view.silence(silenceId);
    if (known === undefined) throw silenceNotFound(silenceId);
    const { namespace } = known;
    const mutation = new Mutation({
      store,
      namespace,
      principal: caller.principal,
      method: 'DeleteSilence',
      requestId,
      input: { schema: DeleteSilenceRequestSchema, message: request },
      output: DeleteSilenceResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return earlier.response;
    const nowMs = await storeTime.exact();
    const actor = actorOf(caller, directory);
    const response = create(DeleteSilenceResponseSchema);
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const entry = await store.get(namespace, silenceKey(silenceId));
      if (entry === undefined) throw silenceNotFound(silenceId);
      const record = decodeSilence(entry.value);
      const { silence } = record;
      if (silence === undefined || endMsOf(silence) <= nowMs) return response;
      silence.endTime = timestampFromMs(nowMs);
      const outcome = await store.commit({
        namespace,
        checks: [{ key: silenceKey(silenceId), revision: entry.revision }],
        puts: [{ key: silenceKey(silenceId), value: encodeSilence(record) }],
        appends: [
          events.append({
            type: 'silence.ended',
            severity: Event_Severity.INFO,
            message: `the silence of ${wordsOf(silence)} was ended`,
            actor,
            attributes: { silence_id: silenceId },
          }),
        ],
        ...mutation.record(response),
      });
      if (outcome.kind === 'committed') return response;
      if (outcome.kind === 'repeated') return mutation.repeated(outcome).response;
    }
    throw contention();
  }
}

const wordsOf = ({ matchers }: Pick<CreateSilenceRequest, 'matchers'>): string =>
  matchers.map(({ name, value, negate }) => `${name}${negate ? '!=' : '='}"${value}"`).join(', ');

const badEnd = (description: string): DomainError =>
  invalidFields(`end_time ${description}`, [{ field: 'end_time', description }]);

const contention = (): DomainError =>
  new DomainError({
    reason: ErrorReason.CONTENTION,
    message: 'the silence was changed concurrently again and again',
    retryAfterMs: 500,
  });

function answer(response: CreateSilenceResponse, revision: bigint): CreateSilenceResponse {
  if (response.silence !== undefined) response.silence.revision = revision;
  return response;
}
