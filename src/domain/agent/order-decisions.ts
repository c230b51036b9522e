import { create, type JsonObject } from '@bufbuild/protobuf';
import {
  Agent_Phase,
  Drain_State,
  DrainSchema,
  QuarantineSchema,
  Restart_State,
  RestartSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { AgentRecord } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { timestampFromMs } from '../../lib/proto-time.ts';
import type { KnownAgent } from './directory.ts';
import { phaseRefused } from './errors.ts';
import { isAttached, mayBeThere } from './liveness.ts';
import { endDrain, phaseWord } from './order-rules.ts';
import { agentOf } from './record.ts';

/** What every order is decided on. */
export interface OrderInput {
  known: KnownAgent;
  /** A copy of its record, to be changed. */
  record: AgentRecord;
  actor: string;
  reason: string;
  storeMs: number;
  /** Of the command, should there be one. */
  deliveryId: string;
}

/** What an order comes to. Its changes are made in the input's record. */
export interface OrderDecision {
  /** Of the event. */
  type: string;
  message: string;
  /** It takes the place of earlier orders that wait in the mailbox. */
  replacesOrders: boolean;
  /** What the agent, or whoever restarts it, is told; undefined: nobody is there to be told. */
  command?: { type: string; arguments: JsonObject; to: string; expireAfterMs?: number };
}

const because = ({ reason }: OrderInput): string => (reason === '' ? '' : `: ${reason}`);

function refuse(known: KnownAgent, phases: readonly Agent_Phase[], words: string): void {
  const { phase } = agentOf(known.record);
  if (phases.includes(phase)) throw phaseRefused(known.id, phaseWord(phase), words);
}

/** @returns undefined: it is drained already. @throws DomainError PHASE_REFUSED */
export function decideDrain(
  input: OrderInput,
  { deadlineMs, mandatory }: { deadlineMs: number; mandatory: boolean },
): OrderDecision | undefined {
  const { known, record, storeMs, actor, reason, deliveryId } = input;
  const agent = agentOf(record);
  refuse(known, [Agent_Phase.STOPPED], 'be drained');
  if (agent.phase === Agent_Phase.DRAINED) return undefined;
  const there = mayBeThere(agent.liveness);
  const now = timestampFromMs(storeMs);
  const running = there && deadlineMs > 0;
  const ended = there ? Drain_State.DEADLINE_PASSED : Drain_State.NOTHING_RAN;
  agent.phase = running ? Agent_Phase.DRAINING : Agent_Phase.DRAINED;
  delete agent.quarantine;
  agent.drain = create(DrainSchema, {
    reason,
    actor,
    startTime: now,
    deadlineTime: timestampFromMs(storeMs + deadlineMs),
    state: running ? Drain_State.RUNNING : ended,
    deliveryId: there ? deliveryId : '',
    ...(running ? {} : { endTime: now }),
  });
  const why = there ? 'no time was given' : 'no process of it was there';
  return {
    type: running ? 'agent.draining' : 'agent.drained',
    message: running
      ? `${known.id} is to finish its work within ${deadlineMs / 1000} s${because(input)}`
      : `${known.id} is drained: ${why}${because(input)}`,
    replacesOrders: true,
    ...(there
      ? {
          command: {
            type: 'drain',
            arguments: { reason, mandatory },
            to: known.id,
            // Also after its deadline the agent shall learn that it gets no more work.
            expireAfterMs: Math.max(deadlineMs, 60_000),
          },
        }
      : {}),
  };
}

/** @throws DomainError PHASE_REFUSED */
export function decideResume(input: OrderInput): OrderDecision {
  const { known, record, storeMs, reason } = input;
  const agent = agentOf(record);
  refuse(known, [Agent_Phase.ACTIVE, Agent_Phase.REGISTERED], 'be resumed: it may be given work already');
  const was = phaseWord(agent.phase);
  const there = mayBeThere(agent.liveness);
  endDrain(agent, Drain_State.CANCELLED, storeMs);
  delete agent.quarantine;
  delete record.stopDeadline;
  // It begins anew: with its failures of before, it would be set aside again at once.
  record.failures = [];
  record.restartAttempts = 0;
  agent.phase = there ? Agent_Phase.ACTIVE : Agent_Phase.REGISTERED;
  return {
    type: 'agent.resumed',
    message: `${known.id} was ${was} and may be given work again${because(input)}`,
    replacesOrders: true,
    ...(there ? { command: { type: 'resume', arguments: { reason }, to: known.id } } : {}),
  };
}

/** @param by who is told to do it. @throws DomainError PHASE_REFUSED */
export function decideRestart(
  input: OrderInput,
  { by, expireAfterMs }: { by: string; expireAfterMs: number },
): OrderDecision {
  const { known, record, storeMs, actor, reason, deliveryId } = input;
  const agent = agentOf(record);
  refuse(known, [Agent_Phase.STOPPED], 'be restarted');
  agent.restart = create(RestartSchema, {
    reason,
    actor,
    startTime: timestampFromMs(storeMs),
    updateTime: timestampFromMs(storeMs),
    attempt: 1,
    byAgentId: by,
    deliveryId,
    state: Restart_State.ORDERED,
    oldInstanceId: known.record.instanceId,
  });
  // It takes the place of one that a policy planned.
  delete record.nextRestartTime;
  return {
    type: 'agent.restart_ordered',
    message: `${by === known.id ? known.id : `${by} for ${known.id}`} is to restart${because(input)}`,
    replacesOrders: false,
    command: {
      type: 'restart',
      arguments: { reason, agent_id: known.id, attempt: 1 },
      to: by,
      expireAfterMs,
    },
  };
}

/** @returns undefined: it is stopped already */
export function decideStop(
  input: OrderInput,
  { deadlineMs }: { deadlineMs: number },
): OrderDecision | undefined {
  const { known, record, storeMs, reason } = input;
  const agent = agentOf(record);
  if (agent.phase === Agent_Phase.STOPPED) return undefined;
  // Whoever is not attached now cannot attach any more, and so could not be told.
  const told = isAttached(agent.liveness) && deadlineMs > 0;
  endDrain(agent, Drain_State.CANCELLED, storeMs);
  delete agent.quarantine;
  delete record.nextRestartTime;
  agent.phase = Agent_Phase.STOPPED;
  if (told) record.stopDeadline = timestampFromMs(storeMs + deadlineMs);
  else delete record.stopDeadline;
  return {
    type: 'agent.stopped',
    message: told
      ? `${known.id} is to finish and leave within ${deadlineMs / 1000} s${because(input)}`
      : `${known.id} is stopped and may not attach${because(input)}`,
    replacesOrders: true,
    ...(told
      ? { command: { type: 'stop', arguments: { reason }, to: known.id, expireAfterMs: deadlineMs } }
      : {}),
  };
}

/** @param forMs undefined: until it is resumed. @throws DomainError PHASE_REFUSED */
export function decideQuarantine(input: OrderInput, { forMs }: { forMs: number | undefined }): OrderDecision {
  const { known, record, storeMs, actor, reason } = input;
  const agent = agentOf(record);
  refuse(known, [Agent_Phase.STOPPED], 'be set aside');
  const there = mayBeThere(agent.liveness);
  endDrain(agent, Drain_State.CANCELLED, storeMs);
  delete record.nextRestartTime;
  agent.phase = Agent_Phase.QUARANTINED;
  agent.quarantine = create(QuarantineSchema, { reason, actor, startTime: timestampFromMs(storeMs) });
  if (forMs !== undefined) agent.quarantine.endTime = timestampFromMs(storeMs + forMs);
  const coolOff: JsonObject = forMs === undefined ? {} : { cool_off_seconds: forMs / 1000 };
  return {
    type: 'agent.quarantined',
    message: `${known.id} is set aside${forMs === undefined ? '' : ` for ${forMs / 1000} s`}${because(input)}`,
    replacesOrders: true,
    ...(there ? { command: { type: 'quarantine', arguments: { reason, ...coolOff }, to: known.id } } : {}),
  };
}
