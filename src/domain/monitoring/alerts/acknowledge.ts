import { create } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  Alert_State,
  AlertAcknowledgementSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  type AcknowledgeAlertRequest,
  AcknowledgeAlertRequestSchema,
  type AcknowledgeAlertResponse,
  AcknowledgeAlertResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import { actorOf, type Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { Mutation } from '../../requests.ts';
import type { EventWriter } from '../events.ts';
import { alertNotFound, alertStateRefused } from './alert-errors.ts';
import { alertKey, alertOf, copyAlertRecord, decodeAlert, encodeAlert } from './alert-record.ts';
import type { AlertView } from './alert-view.ts';
import type { PresentAlerts } from './present-alert.ts';
import { eventOf } from './transitions.ts';

export interface AcknowledgeOptions {
  store: Store;
  storeTime: Pick<StoreTime, 'exact'>;
  view: AlertView;
  present: PresentAlerts;
  directory: AgentDirectory;
  events: EventWriter;
}

const ATTEMPTS = 8;
const STATE_WORDS = ['unknown', 'pending', 'firing', 'acknowledged', 'resolved'] as const;

/** Says that somebody looks after an alert, or no more. */
export class Acknowledge {
  readonly #options: AcknowledgeOptions;

  constructor(options: AcknowledgeOptions) {
    this.#options = options;
  }

  /** @throws DomainError ALERT_NOT_FOUND, ALERT_STATE_REFUSED, REVISION_MISMATCH, REQUEST_ID_REUSED, CONTENTION */
  async acknowledge(request: AcknowledgeAlertRequest, caller: Caller): Promise<AcknowledgeAlertResponse> {
    const { store, storeTime, view, present, directory, events } = this.#options;
    const { alertId, withdraw, comment, expectedRevision, requestId } = request;
    const known = view.get(alertId);
    if (known === undefined) throw alertNotFound(alertId);
    const { namespace } = known;
    const mutation = new Mutation({
      store,
      namespace,
      principal: caller.principal,
      method: 'AcknowledgeAlert',
      requestId,
      input: { schema: AcknowledgeAlertRequestSchema, message: request },
      output: AcknowledgeAlertResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return answer(earlier.response, earlier.revision);
    const actor = actorOf(caller, directory);
    const storeMs = await storeTime.exact();
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const entry = await store.get(namespace, alertKey(alertId));
      if (entry === undefined) throw alertNotFound(alertId);
      if (expectedRevision !== undefined && expectedRevision !== entry.revision)
        throw revisionMismatch(alertId, entry.revision);
      const record = copyAlertRecord(decodeAlert(entry.value, entry.revision));
      const alert = alertOf(record);
      const wanted = withdraw ? Alert_State.ACKNOWLEDGED : Alert_State.FIRING;
      // To acknowledge again changes who does, and why.
      const again = !withdraw && alert.state === Alert_State.ACKNOWLEDGED;
      if (alert.state !== wanted && !again)
        throw alertStateRefused(
          alertId,
          STATE_WORDS[alert.state] ?? '',
          withdraw ? 'be given back' : 'be acknowledged',
        );
      if (withdraw) {
        alert.state = Alert_State.FIRING;
        delete alert.acknowledgement;
      } else {
        alert.state = Alert_State.ACKNOWLEDGED;
        alert.acknowledgement = create(AlertAcknowledgementSchema, {
          actor,
          comment,
          time: timestampFromMs(storeMs),
        });
      }
      const words = withdraw ? 'is given back' : 'is acknowledged';
      const why = comment === '' ? '' : ` (${comment})`;
      const event = eventOf(
        alert,
        withdraw ? 'alert.given_back' : 'alert.acknowledged',
        `${alert.rule} ${words}${why}: ${alert.summary}`,
      );
      const shown = present.alert({ namespace, id: alertId, record, revision: entry.revision });
      const response = create(AcknowledgeAlertResponseSchema, { alert: shown });
      const outcome = await store.commit({
        namespace,
        checks: [{ key: alertKey(alertId), revision: entry.revision }],
        puts: [{ key: alertKey(alertId), value: encodeAlert(record) }],
        appends: [events.append({ ...event, severity: Event_Severity.INFO, actor })],
        ...mutation.record(response),
      });
      if (outcome.kind === 'repeated') {
        const { response: first, revision } = mutation.repeated(outcome);
        return answer(first, revision);
      }
      if (outcome.kind === 'committed') return answer(response, outcome.revision);
    }
    throw new DomainError({
      reason: ErrorReason.CONTENTION,
      message: 'the alert was changed concurrently again and again',
      retryAfterMs: 500,
    });
  }
}

function answer(response: AcknowledgeAlertResponse, revision: bigint): AcknowledgeAlertResponse {
  if (response.alert !== undefined) response.alert.revision = revision;
  return response;
}

const revisionMismatch = (id: string, revision: bigint): DomainError =>
  new DomainError({
    reason: ErrorReason.REVISION_MISMATCH,
    message: `alert ${id} is at revision ${revision}`,
    metadata: { revision: `${revision}` },
  });
