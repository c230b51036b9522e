import { create } from '@bufbuild/protobuf';
import {
  type Agent,
  Agent_Liveness,
  type Health,
  type Observation,
  type ProcessExit,
  type Verdict,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type ExplainAgentResponse,
  type ExplainAgentResponse_Deadline,
  ExplainAgentResponse_DeadlineSchema,
  type ExplainAgentResponse_Signal,
  ExplainAgentResponse_SignalSchema,
  ExplainAgentResponseSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { durationFromMs, msFromDuration, msFromTimestamp } from '../../lib/proto-time.ts';
import type { StoreTime } from '../../state/store-time.ts';
import type { Deliveries } from '../coordination/deliveries.ts';
import { explainMailbox } from '../coordination/explain-mailbox.ts';
import type { Mailboxes } from '../coordination/mailboxes.ts';
import type { Absences } from './absences.ts';
import type { Outlook } from './care/outlook.ts';
import type { KnownAgent } from './directory.ts';
import { isAttached, livenessWords } from './liveness.ts';
import { agentOf, earlierVerdicts } from './record.ts';
import type { Session } from './session.ts';
import type { SessionContext } from './session-context.ts';

export interface ExplainInput {
  known: KnownAgent;
  /** The agent as presented to callers. */
  agent: Agent;
  session: Session | undefined;
  absences: Absences;
  context: SessionContext;
  /** What follows from its failures without anybody asking. */
  outlook: Pick<Outlook, 'explain'>;
  /** How its process ended the last times, newest first. */
  exits: readonly ProcessExit[];
  mailboxes: Mailboxes;
  deliveries: Pick<Deliveries, 'isWithAgent'>;
  storeTime: StoreTime;
}

const MAX_SAMPLES = 128;
const MAX_VERDICTS = 16;

/** Says how an agent is and why. */
export function explainAgent(input: ExplainInput): ExplainAgentResponse {
  const { known, agent, session } = input;
  const verdicts = [
    ...(agent.verdict === undefined ? [] : [agent.verdict]),
    ...earlierVerdicts(known.record),
  ];
  // The present one is about liveness; one about something else may be newer.
  verdicts.sort((a, b) => timeOf(b) - timeOf(a));
  return create(ExplainAgentResponseSchema, {
    agent,
    summary: summaryOf(agent),
    signals: signalsOf(agent, input),
    deadlines: deadlinesOf(input),
    verdicts: verdicts.slice(0, MAX_VERDICTS),
    sampleMs: session?.roundTrips.recent(MAX_SAMPLES) ?? [],
    exits: [...input.exits],
    ...mailboxOf(input),
    ...input.outlook.explain(known),
  });
}

const timeOf = ({ time }: Verdict): number => (time === undefined ? 0 : msFromTimestamp(time));

function mailboxOf({ known, session, mailboxes, deliveries, storeTime }: ExplainInput) {
  const waiting = mailboxes.of(known.namespace, known.id);
  const mailbox = explainMailbox({
    deliveries: waiting,
    storeMs: storeTime.ms(),
    attached: isAttached(agentOf(known.record).liveness),
    isWithAgent: session === undefined ? undefined : (delivery) => deliveries.isWithAgent(delivery),
  });
  return { mailbox, mailboxSize: waiting.length };
}

function summaryOf(agent: Agent): string {
  const words =
    agent.liveness === Agent_Liveness.CONNECTED ? 'connected' : livenessWords(agent.liveness).words;
  const why = agent.verdict === undefined ? '' : ` (${agent.verdict.rule}: ${agent.verdict.detail})`;
  const health = agent.observation?.health;
  if (health === undefined) return `${agent.id} is ${words}${why}; nothing was measured yet`;
  const because = health.reasons.length === 0 ? '' : `, because ${health.reasons.join('; ')}`;
  return `${agent.id} is ${words}${why}; health ${health.score.toFixed(2)}${because}`;
}

function signalsOf(agent: Agent, input: ExplainInput): ExplainAgentResponse_Signal[] {
  const { observation } = agent;
  const health = observation?.health;
  if (observation === undefined || health === undefined) return [];
  return [
    signal('connected', health.connected, observation, connectedEvidence(agent, observation)),
    signal('responsive', health.responsive, observation, responsiveEvidence(input, observation)),
    signal('progressing', health.progressing, observation, progressEvidence(input, health)),
    signal('headroom', health.headroom, observation, loadEvidence(observation)),
  ];
}

function signal(
  name: string,
  value: number,
  observation: Observation,
  evidence: string,
): ExplainAgentResponse_Signal {
  const time =
    name === 'headroom' || name === 'progressing' ? observation.reportTime : observation.observeTime;
  return create(ExplainAgentResponse_SignalSchema, {
    name,
    value,
    evidence,
    ...(time === undefined ? {} : { time }),
  });
}

function connectedEvidence(agent: Agent, observation: Observation): string {
  const where = `epoch ${observation.sessionEpoch} from ${observation.peer}, seen by ${observation.replicaId}`;
  const age = observation.age === undefined ? 0 : msFromDuration(observation.age);
  if (agent.liveness === Agent_Liveness.CONNECTED || agent.liveness === Agent_Liveness.SUSPECT) {
    return `a session is open: ${where}, last heard ${seconds(age)} ago`;
  }
  return `no session is open; the last one was ${where}, last heard ${seconds(age)} ago`;
}

function responsiveEvidence({ session, context }: ExplainInput, observation: Observation): string {
  const phi = `phi ${observation.phi.toFixed(2)} of ${context.config.suspectPhi}`;
  const trip = observation.roundTrip;
  const times =
    trip === undefined
      ? 'no round trip was measured yet'
      : `round trip ${ms(trip.smoothed)} smoothed, p95 ${ms(trip.p95)}, p99 ${ms(trip.p99)} over ${trip.samples}`;
  const waiting = session === undefined ? '' : `, ${session.probes.outstanding} probes unanswered now`;
  return `${phi}; ${times}${waiting}; ${observation.missed} of ${observation.heartbeats + observation.missed} probes were never answered`;
}

function progressEvidence({ session, context }: ExplainInput, health: Health): string {
  if (session?.report === undefined) return 'the agent has reported no activity in this session';
  const { activity, movedMs } = session.progress;
  const since = context.clock.monoMs() - movedMs;
  const budget = context.progressBudgetMs(session.namespace, session.agentId, activity);
  const name = activity === '' ? 'no activity' : `activity "${activity}"`;
  if (budget === undefined)
    return `${name}, which has no progress contract; counters moved ${seconds(since)} ago`;
  const kept = health.progressing === 1 ? 'kept' : 'broken';
  return `${name} with a budget of ${seconds(budget)}, ${kept}: counters moved ${seconds(since)} ago`;
}

function loadEvidence(observation: Observation): string {
  const load = observation.report?.load;
  return load === undefined ? 'the agent reports no load' : `the agent reports a load of ${load.toFixed(2)}`;
}

function deadlinesOf({ known, session, absences, context }: ExplainInput): ExplainAgentResponse_Deadline[] {
  const nowMs = context.clock.monoMs();
  const deadlines: ExplainAgentResponse_Deadline[] = [];
  const add = (rule: string, liveness: Agent_Liveness, remainingMs: number): void => {
    deadlines.push(
      create(ExplainAgentResponse_DeadlineSchema, {
        rule,
        liveness,
        remaining: durationFromMs(Math.max(0, remainingMs)),
      }),
    );
  };
  if (session !== undefined && !session.ended) {
    add('lease', Agent_Liveness.LOST, session.leaseMs - session.silenceMs(nowMs));
  }
  const absence = absences.get(known.namespace, known.id);
  const left = absences.remainingMs(known.namespace, known.id, nowMs);
  if (absence !== undefined && left !== undefined) add(absence.rule, Agent_Liveness.LOST, left);
  return deadlines;
}

const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(1)} s`;
const ms = (duration: Parameters<typeof msFromDuration>[0] | undefined): string =>
  duration === undefined ? '?' : `${msFromDuration(duration).toFixed(1)} ms`;
