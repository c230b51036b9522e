import { signal } from '@preact/signals';
import {
  type Agent,
  Drain_State,
  Agent_Phase as Phase,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Ago } from '../../components/age.tsx';
import { Badge, Chip } from '../../components/badge.tsx';
import { livenessState, phaseState } from '../../components/states.ts';
import { timeMs } from '../../lib/time.ts';
import { type Act, ActDialog } from './act-dialog.tsx';

const asked = signal<Act | undefined>(undefined);

const ACTS: readonly { act: Act; word: string; when(phase: Phase): boolean }[] = [
  {
    act: 'resume',
    word: 'Resume',
    when: (phase) => phase !== Phase.ACTIVE && phase !== Phase.REGISTERED,
  },
  { act: 'drain', word: 'Drain', when: (phase) => phase === Phase.ACTIVE || phase === Phase.REGISTERED },
  { act: 'restart', word: 'Restart', when: (phase) => phase !== Phase.STOPPED },
  {
    act: 'quarantine',
    word: 'Quarantine',
    when: (phase) => phase !== Phase.QUARANTINED && phase !== Phase.STOPPED,
  },
  { act: 'stop', word: 'Stop', when: (phase) => phase !== Phase.STOPPED },
];

export function AgentHead({ agent, summary, isGone }: { agent: Agent; summary: string; isGone: boolean }) {
  const { spec, drain, quarantine } = agent;
  return (
    <section class="agent-head" aria-label="State of the agent">
      <div class="agent-head-text">
        <p class="agent-states">
          {isGone ? (
            <Badge tone="idle" mark="dash" word="deregistered" />
          ) : (
            <Badge {...livenessState(agent.liveness)} />
          )}
          <Badge {...phaseState(agent.phase)} />
          {drain?.state === Drain_State.DECLINED && (
            <Badge tone="warn" mark="triangle" word="declined to drain" />
          )}
          {spec?.displayName !== undefined && spec.displayName !== '' && <strong>{spec.displayName}</strong>}
          {spec?.kind !== undefined && spec.kind !== '' && (
            <Chip>
              {spec.kind} {spec.version}
            </Chip>
          )}
        </p>
        <p class="agent-summary">{summary || agent.verdict?.detail}</p>
        {agent.phase === Phase.QUARANTINED && quarantine !== undefined && (
          <p class="note">
            Set aside by {quarantine.actor} <Ago ms={timeMs(quarantine.startTime)} />: {quarantine.reason}
          </p>
        )}
        {(agent.phase === Phase.DRAINING || agent.phase === Phase.DRAINED) && drain !== undefined && (
          <p class="note">
            Drained by {drain.actor} <Ago ms={timeMs(drain.startTime)} />
            {drain.reason === '' ? '' : `: ${drain.reason}`}
            {drain.running.length > 0 && `. Still runs: ${drain.running.slice(0, 8).join(', ')}`}
          </p>
        )}
      </div>
      {!isGone && (
        <div class="agent-acts">
          {ACTS.filter(({ when }) => when(agent.phase)).map(({ act, word }) => (
            <button
              key={act}
              type="button"
              onClick={() => {
                asked.value = act;
              }}
            >
              {word}…
            </button>
          ))}
        </div>
      )}
      {asked.value !== undefined && (
        <ActDialog
          act={asked.value}
          agent={agent}
          onClose={() => {
            asked.value = undefined;
          }}
        />
      )}
    </section>
  );
}
