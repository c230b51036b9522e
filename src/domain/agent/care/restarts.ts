import { create } from '@bufbuild/protobuf';
import {
  type Agent,
  Restart_State,
  RestartSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type {
  AgentRecord,
  DeliveryRecord,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import { mailKey } from '../../coordination/delivery-record.ts';
import type { NewEvent } from '../../monitoring/events.ts';
import { agentOf } from '../record.ts';
import type { Change, ChangeContext } from './changes.ts';
import { careCommand } from './commands.ts';
import type { Need } from './needs.ts';

const ACTOR = 'rule:restart_on_loss';
/** Restarts are spread by so much, up and down. */
const SPREAD = 0.1;
/** An order to restart is not given up sooner. */
const MIN_EXPIRY_MS = 60_000;

/** The next order gets its time; it is given when that has come and the supervisor is there. */
export function planRestart(
  { record, deletes, events }: Change,
  agent: Agent,
  { attempt, orderMs }: Need & { kind: 'plan_restart' },
  { policy, storeMs, random }: ChangeContext,
): void {
  const backoff = Math.max(0, orderMs - storeMs);
  const atMs = storeMs + backoff * (1 + SPREAD * (2 * random - 1));
  const before = agent.restart;
  // An order that had no effect is taken back: this one takes its place.
  if (before?.state === Restart_State.ORDERED && before.byAgentId !== '') {
    deletes.push(mailKey(before.byAgentId, before.deliveryId));
  }
  record.restartAttempts = attempt - 1;
  record.nextRestartTime = timestampFromMs(atMs);
  agent.restart = create(RestartSchema, {
    reason: `it is lost (${agent.verdict?.rule ?? 'unknown'})`,
    actor: ACTOR,
    startTime: timestampFromMs(storeMs),
    updateTime: timestampFromMs(storeMs),
    attempt,
    state: Restart_State.PLANNED,
    oldInstanceId: record.instanceId,
    error: before?.state === Restart_State.FAILED ? before.error : '',
  });
  events.push({
    type: 'agent.restart_planned',
    severity: Event_Severity.INFO,
    message: `${agent.id} is to be restarted in ${seconds(atMs - storeMs)}: attempt ${attempt} of ${policy.maxAttempts}`,
    actor: ACTOR,
    agentId: agent.id,
    attributes: { attempt: `${attempt}`, epoch: `${record.sessionEpoch}` },
  });
}

/** The supervisor is told. */
export function orderRestart(
  change: Change,
  agent: Agent,
  { supervisor, attempt }: Need & { kind: 'order_restart' },
  { policy, deliveries, storeMs }: ChangeContext,
): void {
  const { record, puts, events } = change;
  const reason = agent.restart?.reason ?? 'it is lost';
  const { id, put } = careCommand(deliveries, {
    cause: [agent.uid, record.sessionEpoch, storeMs, attempt],
    type: 'restart',
    agentId: supervisor,
    subjectAgentId: agent.id,
    arguments: { agent_id: agent.id, reason, attempt },
    actor: ACTOR,
    storeMs,
    // A supervisor that comes back later gets the order that is due then.
    expireAfterMs: Math.min(deliveries.expireAfterMs, Math.max(policy.maxBackoffMs, MIN_EXPIRY_MS)),
  });
  puts.push(put);
  record.restartAttempts = attempt;
  delete record.nextRestartTime;
  const restart = Object.assign(create(RestartSchema), agent.restart);
  restart.attempt = attempt;
  restart.byAgentId = supervisor;
  restart.deliveryId = id;
  restart.state = Restart_State.ORDERED;
  restart.error = '';
  restart.updateTime = timestampFromMs(storeMs);
  agent.restart = restart;
  events.push({
    type: 'agent.restart_ordered',
    severity: Event_Severity.WARNING,
    message: `${supervisor} was told to restart ${agent.id}: attempt ${attempt} of ${policy.maxAttempts}`,
    actor: ACTOR,
    agentId: agent.id,
    attributes: { attempt: `${attempt}`, supervisor, delivery: id },
  });
}

/**
 * An agent has attached: what became of a restart of it. Changes `record`, which must be a copy.
 * @param order the one that was given for it, as long as it is unfinished and known here
 * @returns what to say about it, and the keys of orders that are void
 */
export function restartOnAttach(
  record: AgentRecord,
  instanceId: string,
  storeMs: number,
  order: DeliveryRecord | undefined,
): { events: NewEvent[]; deletes: string[] } {
  const agent = agentOf(record);
  const { restart } = agent;
  delete record.nextRestartTime;
  const ordered = restart?.state === Restart_State.ORDERED;
  if (restart === undefined || (restart.state !== Restart_State.PLANNED && !ordered)) return NOTHING;
  const ended = Object.assign(create(RestartSchema), restart);
  ended.updateTime = timestampFromMs(storeMs);
  const { oldInstanceId, byAgentId, deliveryId } = restart;
  const key = ordered && byAgentId !== '' ? [mailKey(byAgentId, deliveryId)] : [];
  const nameless = instanceId === '' || oldInstanceId === '';
  if (!nameless && instanceId !== oldInstanceId) {
    ended.state = Restart_State.DONE;
    agent.restart = ended;
    const event: NewEvent = {
      type: 'agent.restarted',
      severity: Event_Severity.INFO,
      message: `${agent.id} is back as another process, after it was to be restarted`,
      actor: `agent:${agent.id}`,
      agentId: agent.id,
      attributes: { by: byAgentId, attempt: `${restart.attempt}` },
    };
    // The new process is not to be restarted: neither by itself, nor by a supervisor that has not begun with it.
    const isVoid = byAgentId === agent.id || order?.accepted === false;
    return { events: [event], deletes: isVoid ? key : [] };
  }
  // What an operator ordered is done although the agent lost its stream meanwhile.
  if (restart.actor !== ACTOR) return NOTHING;
  // It may be the new process that the supervisor was asked for: its answer tells.
  if (nameless && ordered && order?.attempt !== 0n) return NOTHING;
  ended.state = Restart_State.FAILED;
  ended.error = nameless ? 'it came back by itself' : 'the same process came back by itself';
  agent.restart = ended;
  return { events: [], deletes: key };
}

const NOTHING: { events: NewEvent[]; deletes: string[] } = { events: [], deletes: [] };

const seconds = (ms: number): string => `${Math.round(ms / 100) / 10} s`;
