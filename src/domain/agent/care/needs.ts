import {
  type Agent,
  Agent_Liveness,
  Agent_Phase,
  Restart_State,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type {
  AgentRecord,
  FailureRecord,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromDuration, msFromTimestamp } from '../../../lib/proto-time.ts';
import { isAttached } from '../liveness.ts';
import { agentOf } from '../record.ts';
import { failuresWithin, timeOf } from './failures.ts';
import { backoffMs, type Policy } from './policy.ts';
import { isHandled } from './troubles.ts';

/** Something that is to be done about an agent, at `dueMs` (store clock, milliseconds). */
export type Need =
  /** Its work and reservations are taken away, or kept, as its policy says. */
  | { kind: 'handle_loss'; dueMs: number }
  /** The nth order in a row to restart it is planned. */
  | { kind: 'plan_restart'; dueMs: number; attempt: number; orderMs: number }
  /** Its supervisor is told to restart it. */
  | { kind: 'order_restart'; dueMs: number; supervisor: string; attempt: number }
  /** It failed too often, or could not be restarted. */
  | { kind: 'quarantine'; dueMs: number; rule: 'flapping' | 'restart_limit'; detail: string }
  /** Its cool-off is over. */
  | { kind: 'end_quarantine'; dueMs: number }
  /** Those who depend on it hear of its loss, or of its return. */
  | { kind: 'tell_lost'; dueMs: number }
  | { kind: 'tell_recovered'; dueMs: number }
  /** Its forget_after is over. */
  | { kind: 'forget'; dueMs: number };

/** What takes something from an agent, or moves it: the brake and the collecting of agents hold it back. */
export const TAKES: ReadonlySet<Need['kind']> = new Set([
  'handle_loss',
  'plan_restart',
  'order_restart',
  'quarantine',
  'forget',
]);

export interface NeedsInput {
  record: AgentRecord;
  policy: Policy;
  storeMs: number;
  /** Who restarts it; undefined: nobody. */
  supervisor: string | undefined;
  hasDependents: boolean;
  /** Whether many agents failed at that time. */
  isOneOfMany(timeMs: number): boolean;
}

/** An order that had no visible effect for so long is given up, and the next one planned. */
export const RESTART_PATIENCE_MS = 60_000;
/** Before a broken stream sets its agent aside, those of the others are waited for: it may be one of many. */
const OTHERS_MS = 5000;

/** Whether anything can be due for an agent, now or later: the quick look at each change. */
export function concerns(record: AgentRecord): boolean {
  const { liveness, phase, spec } = agentOf(record);
  return (
    liveness === Agent_Liveness.LOST ||
    phase === Agent_Phase.QUARANTINED ||
    record.failures.length > 1 ||
    record.lossToldEpoch !== 0n ||
    (liveness === Agent_Liveness.LEFT && spec?.forgetAfter !== undefined)
  );
}

/** What is to be done about an agent, now and later. Pure, from what is stored alone: whoever takes over goes on with it. */
export function needsOf(input: NeedsInput): Need[] {
  const { record, policy, hasDependents } = input;
  const agent = agentOf(record);
  const needs: Need[] = [];
  if (agent.liveness === Agent_Liveness.LOST) {
    const goneMs = goneMsOf(record);
    const told = record.lossToldEpoch === record.sessionEpoch;
    if (hasDependents && !told) needs.push({ kind: 'tell_lost', dueMs: goneMs });
    if (!isHandled(record)) needs.push({ kind: 'handle_loss', dueMs: goneMs + policy.releaseAfterMs });
    needs.push(...restartNeeds(input, agent, goneMs));
  }
  if (agent.liveness === Agent_Liveness.CONNECTED && record.lossToldEpoch !== 0n) {
    needs.push({ kind: 'tell_recovered', dueMs: 0 });
  }
  needs.push(...quarantineNeeds(input, agent));
  const forgetMs = forgetMsOf(record);
  if (forgetMs !== undefined) needs.push({ kind: 'forget', dueMs: forgetMs });
  return needs;
}

function restartNeeds({ record, policy, supervisor }: NeedsInput, agent: Agent, goneMs: number): Need[] {
  // An agent that is draining, stopped or set aside is meant to be down, or not to be given work: it stays as it is.
  const wanted = agent.phase === Agent_Phase.ACTIVE || agent.phase === Agent_Phase.REGISTERED;
  if (!wanted || !policy.restartOnLoss || supervisor === undefined) return [];
  const { restart } = agent;
  // A restart of this loss, or of an earlier one?
  const startMs = restart?.startTime === undefined ? 0 : msFromTimestamp(restart.startTime);
  const follows = restart !== undefined && startMs >= goneMs;
  if (follows && restart.state === Restart_State.PLANNED && record.nextRestartTime !== undefined) {
    const dueMs = msFromTimestamp(record.nextRestartTime);
    return [{ kind: 'order_restart', dueMs, supervisor, attempt: record.restartAttempts + 1 }];
  }
  const done = follows || !stayedLong(record, policy, goneMs) ? record.restartAttempts : 0;
  const updateMs = restart?.updateTime === undefined ? startMs : msFromTimestamp(restart.updateTime);
  const failed = restart?.state === Restart_State.FAILED;
  // What was ordered is given time to show an effect; what was refused, or has not begun, is not.
  const sinceMs = follows ? (failed ? updateMs : updateMs + RESTART_PATIENCE_MS) : goneMs;
  if (done >= policy.maxAttempts) {
    const detail = `it was to be restarted ${done} times in a row and is still lost`;
    return policy.quarantine ? [{ kind: 'quarantine', dueMs: sinceMs, rule: 'restart_limit', detail }] : [];
  }
  const attempt = done + 1;
  const orderMs = sinceMs + backoffMs(policy, attempt);
  return [{ kind: 'plan_restart', dueMs: sinceMs, attempt, orderMs }];
}

/** Its last session lasted so long that it has begun anew. */
function stayedLong(record: AgentRecord, policy: Policy, goneMs: number): boolean {
  if (record.attachTime === undefined) return false;
  return goneMs - msFromTimestamp(record.attachTime) >= policy.resetAfterMs;
}

function quarantineNeeds(input: NeedsInput, agent: Agent): Need[] {
  if (agent.phase === Agent_Phase.QUARANTINED) {
    const end = agent.quarantine?.endTime;
    return end === undefined ? [] : [{ kind: 'end_quarantine', dueMs: msFromTimestamp(end) }];
  }
  const { policy, storeMs } = input;
  const active = agent.phase === Agent_Phase.ACTIVE || agent.phase === Agent_Phase.REGISTERED;
  if (!active || !policy.quarantine) return [];
  const counted = countedFailures(input);
  if (counted.length < policy.maxFailures) return [];
  const newest = counted[0];
  const dueMs = newest === undefined ? storeMs : timeOf(newest) + (newest.kind === 'crashed' ? 0 : OTHERS_MS);
  const window = `${Math.round(policy.windowMs / 1000)} s`;
  const detail = `${counted.length} failures within ${window}: ${countKinds(counted)}`;
  return [{ kind: 'quarantine', dueMs, rule: 'flapping', detail }];
}

/** Failures that tell of the agent itself. What its supervisor saw of its process does, whoever else failed meanwhile. */
export function countedFailures(
  input: Pick<NeedsInput, 'record' | 'policy' | 'storeMs' | 'isOneOfMany'>,
): FailureRecord[] {
  const { record, policy, storeMs, isOneOfMany } = input;
  if (record.failures.length === 0) return [];
  return failuresWithin(record, storeMs, policy.windowMs).filter(
    (failure) => failure.kind === 'crashed' || !isOneOfMany(timeOf(failure)),
  );
}

function countKinds(failures: readonly FailureRecord[]): string {
  const kinds = new Map<string, number>();
  for (const { kind } of failures) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  return [...kinds].map(([kind, count]) => `${count} × ${kind}`).join(', ');
}

/** When the agent went, by the store's clock. */
export const goneMsOf = (record: AgentRecord): number =>
  record.goneTime === undefined ? 0 : msFromTimestamp(record.goneTime);

/** When it is forgotten; undefined: never. A loss is dealt with before. */
function forgetMsOf(record: AgentRecord): number | undefined {
  const { spec, liveness } = agentOf(record);
  if (spec?.forgetAfter === undefined || record.goneTime === undefined) return undefined;
  const handled = liveness === Agent_Liveness.LOST && isHandled(record);
  if (!handled && liveness !== Agent_Liveness.LEFT) return undefined;
  return goneMsOf(record) + msFromDuration(spec.forgetAfter);
}

/** Whether a process of the agent may be there to read a command: it is attached, or may be back in a moment. */
export const isReachable = (agent: Agent): boolean =>
  isAttached(agent.liveness) || agent.liveness === Agent_Liveness.DISCONNECTED;
