import {
  type Operation,
  AgentOutcome_State as Outcome,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import type { State } from '../../components/badge.tsx';
import { Shape } from '../../components/shape.tsx';
import { count, percent } from '../../lib/format.ts';

const OUTCOMES: readonly (readonly [Outcome, State])[] = [
  [Outcome.DONE, { tone: 'ok', mark: 'check', word: 'done' }],
  [Outcome.FAILED, { tone: 'bad', mark: 'cross', word: 'failed' }],
  [Outcome.ACCEPTED, { tone: 'info', mark: 'play', word: 'at it' }],
  [Outcome.DELIVERED, { tone: 'warn', mark: 'half', word: 'told' }],
  [Outcome.CANCELLED, { tone: 'idle', mark: 'dash', word: 'cancelled' }],
  [Outcome.WAITING, { tone: 'idle', mark: 'ring', word: 'waiting' }],
];

const UNKNOWN: State = { tone: 'idle', mark: 'ring', word: 'unknown' };

export const outcomeState = (state: Outcome): State =>
  OUTCOMES.find(([known]) => known === state)?.[1] ?? UNKNOWN;

/** How many of its agents are how far. */
export function OutcomeBar({ operation }: { operation: Operation }) {
  const { counts, agents } = operation;
  const of = (state: Outcome) => counts.find((each) => each.state === state)?.count ?? 0;
  const over = of(Outcome.DONE) + of(Outcome.FAILED) + of(Outcome.CANCELLED);
  const present = OUTCOMES.filter(([state]) => of(state) > 0);
  const text = present.map(([state, { word }]) => `${of(state)} ${word}`).join(', ');
  return (
    <div class="outcomes">
      <span
        class="outcome-bar"
        role="progressbar"
        aria-label="Agents done with"
        aria-valuemin={0}
        aria-valuemax={agents}
        aria-valuenow={over}
        aria-valuetext={text === '' ? 'no agents' : text}
      >
        {present
          .filter(([state]) => state !== Outcome.WAITING)
          .map(([state, { tone }]) => (
            <span
              key={state}
              class={`outcome-part tone-${tone}`}
              style={{ width: `${(of(state) / agents) * 100}%` }}
            />
          ))}
      </span>
      <div class="outcome-words">
        <span class="outcome-share">{percent(agents === 0 ? 1 : over / agents)}</span>
        {present.map(([state, { tone, mark, word }]) => (
          <span key={state} class={`badge plain tone-${tone}`}>
            <Shape mark={mark} />
            {count(of(state))} {word}
          </span>
        ))}
      </div>
    </div>
  );
}
