import {
  type Agent,
  Agent_Liveness,
  Agent_Phase,
  Drain_State,
  Restart_State,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Payload } from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { AgentOutcome_State as State } from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import type {
  OperationAgentRecord,
  OperationAnswerRecord,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { KnownAgent } from '../../agent/directory.ts';
import { isAttached, livenessWords } from '../../agent/liveness.ts';
import { phaseWord } from '../../agent/order-rules.ts';
import { agentOf } from '../../agent/record.ts';
import type { KnownDelivery } from '../mailboxes.ts';

/** Commands that the service carries out itself, by the orders to single agents. All others are the agents' own. */
export type OrderedCommand = 'drain' | 'resume' | 'restart' | 'stop' | 'pause';
const ORDERED: ReadonlySet<string> = new Set(['drain', 'resume', 'restart', 'stop', 'pause']);
export const isOrdered = (command: string): command is OrderedCommand => ORDERED.has(command);

export interface JudgeInput {
  command: string;
  /** Of an agent whose command is out. */
  outcome: OperationAgentRecord;
  /** As it is now; undefined: it was deregistered. */
  agent: KnownAgent | undefined;
  /** The command, while it is in the mailbox. */
  delivery: KnownDelivery | undefined;
  answer: OperationAnswerRecord | undefined;
  storeMs: number;
}

/** What became of an agent. */
export interface Judgement {
  state: State;
  verified: boolean;
  error: string;
  output?: Payload;
  outputTruncated?: boolean;
  /** The command must not be carried out later: it goes out of the mailbox in the same commit. */
  takeBack?: boolean;
}

const done = (verified: boolean, error = ''): Judgement => ({ state: State.DONE, verified, error });
const failed = (error: string, more: Partial<Judgement> = {}): Judgement => ({
  state: State.FAILED,
  verified: false,
  error,
  ...more,
});

/** Judges an agent whose command is out by what is stored. Pure. undefined: there is no news. */
export function judge(input: JudgeInput): Judgement | undefined {
  const { command, outcome, agent: known, storeMs } = input;
  if (known === undefined || agentOf(known.record).uid !== outcome.uid) {
    return failed('it was deregistered', { takeBack: true });
  }
  const agent = agentOf(known.record);
  const judged = isOrdered(command) ? ORDER_RULES[command](input, agent, known) : judgeCustom(input, agent);
  if (judged !== undefined) return judged;
  if (storeMs >= Number(outcome.deadlineMs)) return tooLate(input, agent);
  const accepted = input.delivery?.record.accepted === true || input.answer !== undefined;
  const state = accepted ? State.ACCEPTED : State.DELIVERED;
  // What was accepted once stays so until it ends, also when it is handed out anew after a reconnect.
  if (state === outcome.outcome?.state || outcome.outcome?.state === State.ACCEPTED) return undefined;
  return { state, verified: false, error: '' };
}

function tooLate({ command, delivery, outcome }: JudgeInput, { liveness }: Agent): Judgement {
  const where = isAttached(liveness) ? '' : `; it is ${livenessWords(liveness).words}`;
  const taken = delivery?.record.accepted === true || outcome.outcome?.state === State.ACCEPTED;
  const what = taken ? 'it has taken the command on and not finished it' : 'it has not taken the command on';
  return failed(`it took too long: ${what}${where}`, { takeBack: !isOrdered(command) });
}

function judgeCustom({ answer, delivery }: JudgeInput, { liveness }: Agent): Judgement | undefined {
  if (answer?.state === 'succeeded') {
    const { output, outputTruncated } = answer;
    return { ...done(true), ...(output === undefined ? {} : { output, outputTruncated }) };
  }
  if (answer !== undefined) return failed(answerWords(answer));
  const gone = goneWords(liveness);
  if (gone !== undefined) return failed(gone, { takeBack: true });
  if (delivery === undefined) return failed('the command was taken out of its mailbox unanswered');
  return undefined;
}

type OrderRule = (input: JudgeInput, agent: Agent, known: KnownAgent) => Judgement | undefined;

const judgeDrain: OrderRule = ({ outcome, answer }, { drain, phase, liveness }) => {
  // The rule of the drain's outcome stored the phase together with the answer.
  if (answer?.state === 'succeeded') return done(true);
  if (drain?.deliveryId !== outcome.outcome?.deliveryId || drain === undefined) return superseded(phase);
  switch (drain.state) {
    case Drain_State.STOPPED:
      return done(true);
    case Drain_State.NOTHING_RAN:
      return done(true, 'no process of it was there');
    case Drain_State.DEADLINE_PASSED:
      return failed(`it took too long: ${drain.error || 'it has not said that its work has stopped'}`);
    case Drain_State.DECLINED:
      return failed(withWhy('declined', drain.error));
    case Drain_State.CANCELLED:
      return superseded(phase);
    default:
      return liveness === Agent_Liveness.LOST
        ? failed('it was lost before it said that its work has stopped')
        : undefined;
  }
};

const judgeRestart: OrderRule = ({ outcome, storeMs }, { restart, liveness }, { record }) => {
  const { oldInstanceId, oldSessionEpoch } = outcome;
  const attachedAnew = isAttached(liveness) && record.sessionEpoch > oldSessionEpoch;
  const named = record.instanceId !== '' && oldInstanceId !== '';
  if (attachedAnew && named && record.instanceId !== oldInstanceId) return done(true);
  if (restart?.deliveryId !== outcome.outcome?.deliveryId || restart === undefined) {
    return failed('another restart took its place');
  }
  if (restart.state === Restart_State.FAILED) return failed(restart.error || 'the restart failed');
  const isDone = restart.state === Restart_State.DONE && attachedAnew && !named;
  if (restart.state === Restart_State.DONE && !isDone && storeMs >= Number(outcome.deadlineMs)) {
    return failed('it was said to be restarted, but no other process has attached');
  }
  return isDone
    ? done(false, 'its processes have no names: whether it is another one is not known')
    : undefined;
};

const judgeStop: OrderRule = (_, { phase, liveness, verdict }) => {
  if (phase !== Agent_Phase.STOPPED) return superseded(phase);
  switch (liveness) {
    case Agent_Liveness.NEVER_SEEN:
      return done(true, 'no process of it was ever there');
    case Agent_Liveness.LEFT:
      return verdict?.rule === 'stopped'
        ? failed('it did not leave in time: its session was ended, its process may still be there')
        : done(true);
    case Agent_Liveness.LOST:
      return done(false, 'it went without a goodbye: its process may still be there');
    default:
      return undefined;
  }
};

/** Of orders whose effect is a phase, stored with the order; the agent is told of it. */
const judgePhase =
  (...wanted: readonly Agent_Phase[]): OrderRule =>
  ({ outcome, answer, delivery }, { phase, liveness }) => {
    const reached = wanted.includes(phase);
    if (answer?.state === 'expired' || answer?.state === 'tries') {
      return failed(`it was told and did not answer; it is ${phaseWord(phase)} all the same`);
    }
    if (answer !== undefined) {
      // The phase stands whatever the agent thinks of it.
      return done(
        reached || answer.state === 'succeeded',
        answer.state === 'succeeded' ? '' : answerWords(answer),
      );
    }
    if (!reached) return superseded(phase);
    const gone = goneWords(liveness);
    if (gone !== undefined) return done(true, `${gone}: it is told when it comes back`);
    return delivery === undefined || outcome.mailboxAgentId === '' ? done(true) : undefined;
  };

const ORDER_RULES: Record<OrderedCommand, OrderRule> = {
  drain: judgeDrain,
  restart: judgeRestart,
  stop: judgeStop,
  pause: judgePhase(Agent_Phase.QUARANTINED),
  resume: judgePhase(Agent_Phase.ACTIVE, Agent_Phase.REGISTERED),
};

const superseded = (phase: Agent_Phase): Judgement =>
  failed(`another order took its place: it is ${phaseWord(phase)}`);

/** Why an agent will not answer a command; undefined: it may. */
export function goneWords(liveness: Agent_Liveness): string | undefined {
  switch (liveness) {
    case Agent_Liveness.LOST:
      return 'it is lost';
    case Agent_Liveness.LEFT:
      return 'it has left';
    case Agent_Liveness.NEVER_SEEN:
      return 'no process of it was ever there';
    default:
      return undefined;
  }
}

function answerWords({ state, error }: OperationAnswerRecord): string {
  switch (state) {
    case 'expired':
      return 'it took too long: the command expired unanswered';
    case 'tries':
      return 'it was given the command again and again and did not answer';
    case 'agent_gone':
      return 'it was deregistered';
    default:
      return withWhy(state, error);
  }
}

const withWhy = (state: string, error: string): string =>
  error === '' ? `it ${state}` : `it ${state}: ${error}`;
