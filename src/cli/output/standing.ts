import type { Timestamp } from '@bufbuild/protobuf/wkt';
import {
  type Agent,
  Agent_Liveness,
  Agent_Phase,
  Agent_PhaseSchema,
  type Drain,
  Drain_State,
  type Quarantine,
  Restart_State,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { enumName } from './names.ts';
import { bad, dim, good, type Line, plain, warn } from './text.ts';
import { formatClock, formatMs, formatTime, timestampMs } from './time.ts';

/** How an order to an agent stands, by the agent's record. */
export interface Standing {
  /** Nothing more follows from the order. */
  ended: boolean;
  /** It ended as was wanted, and that is sure. */
  ok: boolean;
  /** What to say after the agent's name: "drained: it said that its work has stopped". */
  words: Line;
  /** Other than before: there is progress to tell of. Unlike the words it has no times in it. */
  step: string;
}

/** How an agent's drain stands or ended. `nowMs`: by the store's clock. */
export function drainStanding({ drain, phase, liveness }: Agent, nowMs: number): Standing {
  if (drain === undefined) {
    const now = enumName(Agent_PhaseSchema, phase);
    return ended(false, [bad('not drained'), plain(`: it is ${now}, and its drain is gone`)]);
  }
  const took = tookWords(drain.startTime, drain.endTime);
  switch (drain.state) {
    case Drain_State.STOPPED: {
      const how = liveness === Agent_Liveness.LEFT ? 'it said goodbye' : 'it said that its work has stopped';
      return ended(true, [good('drained'), plain(`: ${how}${took}`)]);
    }
    case Drain_State.NOTHING_RAN:
      return ended(true, [good('drained'), plain(': no process of it was there to run anything')]);
    case Drain_State.DEADLINE_PASSED: {
      const still = drain.running.length === 0 ? 'it may still be working' : runningWords(drain);
      return ended(false, [
        warn('drained by its deadline'),
        plain(`, it did not say that its work has stopped: ${still}${took}`),
      ]);
    }
    case Drain_State.DECLINED:
      return ended(false, [bad('not drained'), plain(`: it refused${saidWords(drain.error)}`)]);
    case Drain_State.CANCELLED:
      return ended(false, [bad('not drained'), plain(': it was given work again, or another order came')]);
    default: {
      const left = leftWords(drain.deadlineTime, nowMs);
      const running = drain.running.length === 0 ? '' : `; ${runningWords(drain)}`;
      const said = drain.error === '' ? '' : `; it said ${drain.error}`;
      return underWay(
        [warn('draining'), plain(`${left}${running}${said}`)],
        `${drain.running.join('\n')}\0${drain.error}`,
      );
    }
  }
}

/** How an agent's restart stands or ended. */
export function restartStanding({ id, restart }: Agent): Standing {
  if (restart === undefined) return ended(false, [bad('not restarted'), plain(': the order is gone')]);
  const itself = restart.byAgentId === '' || restart.byAgentId === id;
  const by = itself ? 'it' : restart.byAgentId;
  const nth = restart.attempt > 1 ? `, the ${ordinal(restart.attempt)} time in a row` : '';
  switch (restart.state) {
    case Restart_State.DONE: {
      const took = tookWords(restart.startTime, restart.updateTime);
      return ended(true, [good('restarted'), plain(` by ${itself ? 'itself' : by}${nth}${took}`)]);
    }
    case Restart_State.FAILED:
      return ended(false, [
        bad('not restarted'),
        plain(`: the order to ${itself ? 'itself' : by}: ${restart.error || 'failed'}${nth}`),
      ]);
    case Restart_State.PLANNED:
      return underWay([warn('restart planned'), plain(`: ${by} will be told${nth}`)], 'planned');
    default:
      return underWay([warn('restart ordered'), plain(`: ${by} was told${nth}`)], 'ordered');
  }
}

/** The rule of the verdict on a session that the service ended, because the deadline of a stop had passed. */
const endedByStop = 'stopped';

/** How the stop of an agent stands or ended: when it has no session any more. */
export function stopStanding({ phase, liveness, verdict }: Agent): Standing {
  if (phase !== Agent_Phase.STOPPED) {
    return ended(false, [bad('not stopped'), plain(`: it is ${enumName(Agent_PhaseSchema, phase)} again`)]);
  }
  switch (liveness) {
    case Agent_Liveness.CONNECTED:
    case Agent_Liveness.SUSPECT:
      return underWay([warn('stopping'), plain(': it is to finish and leave')], 'attached');
    case Agent_Liveness.NEVER_SEEN:
      return ended(true, [good('stopped'), plain(': no process of it was ever there')]);
    case Agent_Liveness.LEFT:
      if (verdict?.rule !== endedByStop) return ended(true, [good('stopped'), plain(': it said goodbye')]);
      return ended(false, [
        warn('stopped by its deadline'),
        plain(', it did not say goodbye: its session was ended, its process may still be there'),
      ]);
    default:
      return ended(false, [
        warn('stopped without a goodbye'),
        plain(': it has no session, its process may still be there'),
      ]);
  }
}

/** Until when an agent is set aside, and why. */
export function quarantineWords(quarantine: Quarantine, nowMs: number): Line {
  const { reason, actor } = quarantine;
  const why = reason === '' ? '' : `: ${reason}`;
  return [plain(quarantineUntil(quarantine, nowMs)), plain(why), dim(byWords(actor))];
}

export function quarantineUntil({ endTime }: Quarantine, nowMs: number): string {
  if (endTime === undefined) return 'until it is resumed';
  return `until ${formatTime(endTime)}${leftWords(endTime, nowMs)}`;
}

/** ", by rule:flapping", or nothing. */
export function byWords(actor: string): string {
  return actor === '' ? '' : `, by ${actor}`;
}

/** Failures of orders are told in lists for so long; after that only where the agent is not there. */
const recentMs = 3_600_000;

/** What an order or a policy did to an agent, where that is worth a look in a list: in a few words, or nothing. */
export function noteOf(agent: Agent, nowMs: number): string {
  const { quarantine } = agent;
  const notes = [drainNote(agent, nowMs), restartNote(agent, nowMs)];
  if (quarantine !== undefined) {
    const until = quarantine.endTime === undefined ? 'until resumed' : shortLeft(quarantine.endTime, nowMs);
    notes.unshift(`${until}${because(quarantine.reason)}`);
  }
  return notes.filter((note) => note !== '').join('; ');
}

function drainNote({ drain, phase }: Agent, nowMs: number): string {
  switch (drain?.state) {
    case Drain_State.RUNNING: {
      const left = drain.deadlineTime === undefined ? [] : [shortLeft(drain.deadlineTime, nowMs)];
      const running = drain.running.length > 0 ? [`${drain.running.length} still run`] : [];
      return [...left, ...running].join(', ');
    }
    case Drain_State.DEADLINE_PASSED:
      return phase === Agent_Phase.DRAINED ? 'by deadline, may still work' : '';
    case Drain_State.DECLINED:
      return isRecent(drain.endTime, nowMs) ? `refused to drain${because(drain.error)}` : '';
    default:
      return '';
  }
}

function restartNote({ restart, liveness, phase }: Agent, nowMs: number): string {
  if (phase === Agent_Phase.STOPPED) return '';
  switch (restart?.state) {
    case Restart_State.PLANNED:
      return 'restart planned';
    case Restart_State.ORDERED:
      return 'restart ordered';
    case Restart_State.FAILED: {
      const matters = liveness !== Agent_Liveness.CONNECTED || isRecent(restart.updateTime, nowMs);
      return matters ? `restart failed${because(restart.error)}` : '';
    }
    default:
      return '';
  }
}

function isRecent(time: Timestamp | undefined, nowMs: number): boolean {
  return time !== undefined && nowMs - timestampMs(time) < recentMs;
}

function because(reason: string): string {
  return reason === '' ? '' : `: ${reason}`;
}

function ended(ok: boolean, words: Line): Standing {
  return { ended: true, ok, words, step: 'ended' };
}

function underWay(words: Line, step: string): Standing {
  return { ended: false, ok: false, words, step };
}

const mostNames = 5;

function runningWords({ running }: Drain): string {
  const more = running.length > mostNames ? ` and ${running.length - mostNames} more` : '';
  return `still running: ${running.slice(0, mostNames).join(', ')}${more}`;
}

function saidWords(error: string): string {
  return error === '' ? ' and did not say why' : `: ${error}`;
}

/** " (3.2s)" between two points of time that are known. */
function tookWords(start: Timestamp | undefined, end: Timestamp | undefined): string {
  if (start === undefined || end === undefined) return '';
  return ` (${formatMs(Math.max(0, timestampMs(end) - timestampMs(start)))})`;
}

/** ", 9m58s left" or ", overdue". */
function leftWords(deadline: Timestamp | undefined, nowMs: number): string {
  return deadline === undefined ? '' : `, ${shortLeft(deadline, nowMs)}`;
}

function shortLeft(deadline: Timestamp, nowMs: number): string {
  const leftMs = timestampMs(deadline) - nowMs;
  return leftMs > 0
    ? `${formatMs(leftMs)} left`
    : `since ${formatClock(new Date(timestampMs(deadline)))} due`;
}

function ordinal(count: number): string {
  const last = count % 100 >= 11 && count % 100 <= 13 ? 0 : count % 10;
  return `${count}${{ 1: 'st', 2: 'nd', 3: 'rd' }[last] ?? 'th'}`;
}
