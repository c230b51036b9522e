import { create } from '@bufbuild/protobuf';
import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type ConfirmLossRequest,
  ConfirmLossRequestSchema,
  type ConfirmLossResponse,
  ConfirmLossResponseSchema,
  type SetAutomationRequest,
  SetAutomationRequestSchema,
  type SetAutomationResponse,
  SetAutomationResponseSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { Event_Severity } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { FreezeRecordSchema } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { DomainError } from '../../lib/errors.ts';
import { msFromDuration, timestampFromMs } from '../../lib/proto-time.ts';
import type { Store } from '../../state/store.ts';
import type { EventWriter, NewEvent } from '../monitoring/events.ts';
import { namespaceOf } from '../namespaces.ts';
import { Mutation } from '../requests.ts';
import { admitNamespace } from './admit-namespace.ts';
import { actorOf, type Caller } from './caller.ts';
import { encodeFreeze, FREEZE_KEY } from './care/care-records.ts';
import type { Surveys } from './care/surveys.ts';
import { standingOf, zoneOf } from './care/troubles.ts';
import type { AgentDirectory, KnownAgent } from './directory.ts';
import { contention } from './errors.ts';
import { loadAgent } from './load.ts';
import { agentIdOf, agentKey, agentOf, copyRecord, encodeRecord, isAgentKey } from './record.ts';

export interface AutomationOptions {
  store: Store;
  directory: AgentDirectory;
  surveys: Pick<Surveys, 'needs'>;
  events: EventWriter;
  maxNamespaces: number;
}

/** Agents in one commit. */
const CHUNK = 256;
/** Agents of one commit that may change while they are confirmed. */
const ATTEMPTS = 2 * CHUNK;

/** What operators decide about automatic action: that a mass failure is real, and that nothing is done for now. */
export class Automation {
  readonly #options: AutomationOptions;

  constructor(options: AutomationOptions) {
    this.#options = options;
  }

  /** @throws DomainError NOTHING_TO_CONFIRM, REQUEST_ID_REUSED, CONTENTION */
  async confirmLoss(request: ConfirmLossRequest, caller: Caller): Promise<ConfirmLossResponse> {
    const { store, directory, events } = this.#options;
    const namespace = namespaceOf(request);
    const mutation = new Mutation({
      store,
      namespace,
      principal: caller.principal,
      method: 'ConfirmLoss',
      requestId: request.requestId,
      input: { schema: ConfirmLossRequestSchema, message: request },
      output: ConfirmLossResponseSchema,
    });
    const answer = (first: { revision: bigint; response: ConfirmLossResponse }): ConfirmLossResponse => {
      first.response.revision = first.revision;
      return first.response;
    };
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return answer(earlier);
    const storeMs = await store.now();
    const failing = this.#failing(namespace, request, storeMs);
    let confirmed = 0;
    // The last commit has the event and the answer; after a crash before it, a repeat confirms the rest.
    for (let from = 0; from + CHUNK < failing.length; from += CHUNK) {
      const chunk = failing.slice(from, from + CHUNK);
      confirmed += (await this.#confirm(namespace, chunk, storeMs, () => ({}))).count;
    }
    const rest = failing.slice(failing.length - (failing.length % CHUNK || Math.min(CHUNK, failing.length)));
    const response = create(ConfirmLossResponseSchema);
    const last = await this.#confirm(namespace, rest, storeMs, (count) => {
      response.confirmed = confirmed + count;
      if (response.confirmed === 0) throw nothingToConfirm(namespace, request.zone);
      const event = confirmedEvent(request, actorOf(caller, directory), response.confirmed);
      return { appends: [events.append(event)], ...mutation.record(response) };
    });
    if (last.outcome.kind === 'repeated') return answer(mutation.repeated(last.outcome));
    return answer({ revision: last.outcome.revision, response });
  }

  /** @throws DomainError LIMIT_REACHED (a namespace too many), REQUEST_ID_REUSED, CONTENTION */
  async set(request: SetAutomationRequest, caller: Caller): Promise<SetAutomationResponse> {
    const { store, directory, events } = this.#options;
    const namespace = namespaceOf(request);
    this.#admit(namespace);
    const mutation = new Mutation({
      store,
      namespace,
      principal: caller.principal,
      method: 'SetAutomation',
      requestId: request.requestId,
      input: { schema: SetAutomationRequestSchema, message: request },
      output: SetAutomationResponseSchema,
    });
    const answer = (first: { revision: bigint; response: SetAutomationResponse }): SetAutomationResponse => {
      first.response.revision = first.revision;
      return first.response;
    };
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return answer(earlier);
    const actor = actorOf(caller, directory);
    const response = create(SetAutomationResponseSchema, { enabled: request.enabled });
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const found = await store.get(namespace, FREEZE_KEY);
      const storeMs = await store.now();
      const record = create(FreezeRecordSchema, {
        actor,
        reason: request.reason,
        startTime: timestampFromMs(storeMs),
      });
      if (request.duration !== undefined) {
        record.endTime = timestampFromMs(storeMs + msFromDuration(request.duration));
      }
      // Enabling what is not frozen changes nothing, and is no event.
      const changes = !request.enabled || found !== undefined;
      const outcome = await store.commit({
        namespace,
        checks: [{ key: FREEZE_KEY, revision: found?.revision ?? 0n }],
        ...(request.enabled
          ? { deletes: changes ? [FREEZE_KEY] : [] }
          : { puts: [{ key: FREEZE_KEY, value: encodeFreeze(record) }] }),
        appends: changes ? [events.append(automationEvent(namespace, request, actor))] : [],
        ...mutation.record(response),
      });
      if (outcome.kind === 'repeated') return answer(mutation.repeated(outcome));
      if (outcome.kind === 'committed') return answer({ revision: outcome.revision, response });
    }
    throw contention();
  }

  #failing(namespace: string, { zone, agentIds }: ConfirmLossRequest, storeMs: number): KnownAgent[] {
    const { directory } = this.#options;
    const wanted = agentIds.length === 0 ? undefined : new Set(agentIds);
    const found: KnownAgent[] = [];
    for (const known of directory.all(namespace)) {
      if (wanted !== undefined && !wanted.has(known.id)) continue;
      if (zone !== '' && zoneOf(known.record) !== zone) continue;
      if (this.#isHeldBack(known, storeMs)) found.push(known);
    }
    return found;
  }

  /** In trouble, or lost with something that is to be done about it. */
  #isHeldBack(known: KnownAgent, storeMs: number): boolean {
    if (standingOf(known.record) === 'failing') return true;
    if (agentOf(known.record).liveness !== Agent_Liveness.LOST) return false;
    return this.#options.surveys
      .needs(known, storeMs)
      .some(({ kind }) => kind === 'plan_restart' || kind === 'order_restart');
  }

  /** Marks those of a chunk that are still in trouble. @param extra what else the commit has, given how many that are */
  async #confirm(
    namespace: string,
    chunk: readonly KnownAgent[],
    storeMs: number,
    extra: (count: number) => Partial<Parameters<Store['commit']>[0]>,
  ) {
    const { store } = this.#options;
    const agents = new Map(chunk.map((known) => [known.id, known]));
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const marked = [...agents.values()].filter(
        ({ record }) => record.lossConfirmedEpoch !== record.sessionEpoch,
      );
      const outcome = await store.commit({
        namespace,
        checks: [...agents.values()].map(({ id, revision }) => ({ key: agentKey(id), revision })),
        puts: marked.map(({ id, record }) => {
          const copy = copyRecord(record);
          copy.lossConfirmedEpoch = record.sessionEpoch;
          return { key: agentKey(id), value: encodeRecord(copy) };
        }),
        ...extra(agents.size),
      });
      if (outcome.kind !== 'conflict') return { outcome, count: agents.size };
      if (!isAgentKey(outcome.key)) throw contention();
      const id = agentIdOf(outcome.key);
      const now = await loadAgent(store, namespace, id);
      // Back, or gone for good: its loss is no longer to be confirmed.
      if (now === undefined || !this.#isHeldBack(now, storeMs)) agents.delete(id);
      else agents.set(id, now);
    }
    throw contention();
  }

  /** Anyone can name a namespace: they are bounded here as they are for agents. */
  #admit(namespace: string): void {
    admitNamespace(this.#options.directory, namespace, this.#options.maxNamespaces);
  }
}

function nothingToConfirm(namespace: string, zone: string): DomainError {
  const where = zone === '' ? `namespace ${namespace}` : `zone ${zone} of namespace ${namespace}`;
  return new DomainError({
    reason: ErrorReason.NOTHING_TO_CONFIRM,
    message: `no agent of that description in ${where} is suspect, disconnected or lost with something held back`,
  });
}

function confirmedEvent(request: ConfirmLossRequest, actor: string, confirmed: number): NewEvent {
  const why = request.reason === '' ? '' : `: ${request.reason}`;
  const where = request.zone === '' ? '' : ` of zone ${request.zone}`;
  return {
    type: 'loss.confirmed',
    severity: Event_Severity.WARNING,
    message: `the loss of ${confirmed} agents${where} was confirmed${why}; what the brake holds back of them goes on`,
    actor,
    attributes: { zone: request.zone, confirmed: `${confirmed}` },
  };
}

function automationEvent(namespace: string, request: SetAutomationRequest, actor: string): NewEvent {
  const why = request.reason === '' ? '' : `: ${request.reason}`;
  const lasts = request.duration === undefined ? '' : ` for ${msFromDuration(request.duration) / 1000} s`;
  return request.enabled
    ? {
        type: 'automation.enabled',
        severity: Event_Severity.INFO,
        message: `automatic action on agents of namespace ${namespace} goes on${why}`,
        actor,
      }
    : {
        type: 'automation.frozen',
        severity: Event_Severity.WARNING,
        message: `automatic action on agents of namespace ${namespace} is frozen${lasts}${why}`,
        actor,
      };
}
