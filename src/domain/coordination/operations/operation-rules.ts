import { create } from '@bufbuild/protobuf';
import {
  AgentOutcome_State,
  type Operation_AgentCount,
  Operation_AgentCountSchema,
  Operation_State,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import type { OperationRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import { isOut, operationOf, stateOf, waveOf } from './operation-record.ts';
import type { KnownOutcome } from './operation-view.ts';

/** How far the agents of an operation are. */
export interface Progress {
  counts: ReadonlyMap<AgentOutcome_State, number>;
  /** Agents whose command is out. */
  out: number;
  /** Agents that failed in the present round. */
  failed: number;
  /** The first place in the order of turns that has not ended; undefined: all have. */
  frontier: number | undefined;
}

export interface OperationPicture {
  record: OperationRecord;
  agents: number;
  outcomes: ReadonlyMap<number, KnownOutcome>;
}

/** Looks through all agents of an operation. */
export function progressOf({ record, agents, outcomes }: OperationPicture): Progress {
  const counts = new Map<AgentOutcome_State, number>();
  let out = 0;
  let failed = 0;
  let frontier: number | undefined;
  for (let place = 0; place < agents; place += 1) {
    const outcome = outcomes.get(place)?.record;
    const state = stateOf(record, outcome);
    counts.set(state, (counts.get(state) ?? 0) + 1);
    if (isOut(state)) out += 1;
    if (state === AgentOutcome_State.FAILED && outcome?.round === record.round) failed += 1;
    if (isOut(state) || state === AgentOutcome_State.WAITING) frontier ??= place;
  }
  return { counts, out, failed, frontier };
}

/** By state, without those that nobody is in. */
export const countsOf = ({ counts }: Progress): Operation_AgentCount[] =>
  [...counts]
    .sort(([a], [b]) => a - b)
    .map(([state, count]) => create(Operation_AgentCountSchema, { state, count }));

/** What an operation does next. */
export type Next =
  /** Nothing until there is news. */
  | { kind: 'wait' }
  /** These agents get their command. */
  | { kind: 'order'; places: number[] }
  /** A wave is over (or, after failed ones are to be tried again, an earlier one is not any more). */
  | { kind: 'wave'; over: number | undefined; next: number }
  /** It stops itself. */
  | { kind: 'stop'; why: 'errors' | 'health' }
  | { kind: 'end'; state: Operation_State };

/** Decides it from what is stored. Pure. @param health the mean of the agents done; undefined: not looked at, or nobody is done */
export function decideNext(
  picture: OperationPicture,
  progress: Progress,
  { health, storeMs }: { health: number | undefined; storeMs: number },
): Next {
  const { record } = picture;
  const operation = operationOf(record);
  const { state, wave, spec, nextWaveTime } = operation;
  const { out, failed, frontier } = progress;
  const running = state === Operation_State.RUNNING;
  if (state === Operation_State.CANCELLED) return out === 0 ? { kind: 'end', state } : WAIT;
  if (!running && state !== Operation_State.PAUSED) return WAIT;
  if (failed > record.maxErrors) return { kind: 'stop', why: 'errors' };
  if (frontier === undefined) return { kind: 'end', state: endState(progress) };
  if (!running) return WAIT;
  if (health !== undefined && health < (spec?.minHealth ?? 0)) return { kind: 'stop', why: 'health' };
  const next = waveOf(record, frontier);
  if (next !== wave) return { kind: 'wave', over: next > wave ? wave : undefined, next };
  if (nextWaveTime !== undefined && msFromTimestamp(nextWaveTime) > storeMs) return WAIT;
  const places = turns(picture, next, record.maxInFlight - out);
  return places.length === 0 ? WAIT : { kind: 'order', places };
}

/** The next agents of a wave whose turn it is. */
function turns({ record, agents, outcomes }: OperationPicture, wave: number, room: number): number[] {
  const places: number[] = [];
  const from = (wave - 1) * record.waveSize;
  const to = Math.min(agents, from + record.waveSize);
  for (let place = from; place < to && places.length < room; place += 1) {
    if (stateOf(record, outcomes.get(place)?.record) === AgentOutcome_State.WAITING) places.push(place);
  }
  return places;
}

const endState = ({ counts }: Progress): Operation_State =>
  counts.has(AgentOutcome_State.FAILED) ? Operation_State.COMPLETED_WITH_ERRORS : Operation_State.SUCCEEDED;

const WAIT: Next = { kind: 'wait' };

/** Agents named in a sentence. */
const NAMED = 5;

/** "a1 (it declined), a2 (it is lost) and 3 more". */
export function nameFailed({ record, outcomes }: Omit<OperationPicture, 'agents'>): string {
  const names: string[] = [];
  let more = 0;
  for (const { record: outcome } of outcomes.values()) {
    if (outcome.round !== record.round || stateOf(record, outcome) !== AgentOutcome_State.FAILED) continue;
    const { agentId = '', error = '' } = outcome.outcome ?? {};
    if (names.length < NAMED) names.push(`${agentId} (${error.slice(0, 120)})`);
    else more += 1;
  }
  return `${names.join(', ')}${more === 0 ? '' : ` and ${more} more`}`;
}

/** "18 done, 2 failed, 180 waiting". */
export const countWords = ({ counts }: Progress): string =>
  [...counts]
    .sort(([a], [b]) => b - a)
    .map(([state, count]) => `${count} ${STATE_WORDS[state] ?? '?'}`)
    .join(', ');

const STATE_WORDS: Partial<Record<AgentOutcome_State, string>> = {
  [AgentOutcome_State.WAITING]: 'waiting',
  [AgentOutcome_State.DELIVERED]: 'delivered',
  [AgentOutcome_State.ACCEPTED]: 'accepted',
  [AgentOutcome_State.DONE]: 'done',
  [AgentOutcome_State.FAILED]: 'failed',
  [AgentOutcome_State.CANCELLED]: 'cancelled',
};
