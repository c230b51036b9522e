import {
  Agent_Liveness as Liveness,
  Agent_Phase as Phase,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Shape } from '../../components/shape.tsx';
import { livenessState, phaseState } from '../../components/states.ts';
import { count } from '../../lib/format.ts';
import { setQuery } from '../../router.ts';
import { agents } from '../../store/live.ts';
import { type AgentFilter, livenessName, phaseName } from './filter.ts';

const SHOWN: readonly Liveness[] = [
  Liveness.CONNECTED,
  Liveness.SUSPECT,
  Liveness.DISCONNECTED,
  Liveness.LOST,
  Liveness.LEFT,
  Liveness.NEVER_SEEN,
];
const PHASES: readonly Phase[] = [
  Phase.ACTIVE,
  Phase.DRAINING,
  Phase.DRAINED,
  Phase.QUARANTINED,
  Phase.STOPPED,
  Phase.REGISTERED,
];

export function AgentFilters({ filter }: { filter: AgentFilter; version: number }) {
  const byLiveness = new Map<Liveness, number>();
  const zones = new Set<string>();
  const kinds = new Set<string>();
  for (const { liveness, zone, kind } of agents.values()) {
    byLiveness.set(liveness, (byLiveness.get(liveness) ?? 0) + 1);
    if (zone !== '') zones.add(zone);
    if (kind !== '') kinds.add(kind);
  }
  const toggle = (liveness: Liveness) => {
    const chosen = filter.liveness.includes(liveness)
      ? filter.liveness.filter((each) => each !== liveness)
      : [...filter.liveness, liveness];
    setQuery({ liveness: chosen.map(livenessName).join(',') });
  };
  return (
    <search class="filters">
      <input
        type="search"
        aria-label="Search agents"
        placeholder="Search agents…"
        value={filter.text}
        onInput={(event) => setQuery({ q: event.currentTarget.value })}
      />
      <fieldset class="toggles">
        <legend class="unseen">Liveness</legend>
        {SHOWN.map((liveness) => {
          const { tone, mark, word } = livenessState(liveness);
          return (
            <button
              key={word}
              type="button"
              class={`toggle tone-${tone}`}
              aria-pressed={filter.liveness.includes(liveness)}
              onClick={() => toggle(liveness)}
            >
              <Shape mark={mark} />
              {word} <span class="toggle-count">{count(byLiveness.get(liveness) ?? 0)}</span>
            </button>
          );
        })}
      </fieldset>
      <Choice
        label="Phase"
        all="Any phase"
        value={filter.phase === undefined ? '' : phaseName(filter.phase)}
        options={PHASES.map((phase) => [phaseName(phase), phaseState(phase).word])}
        onChange={(phase) => setQuery({ phase })}
      />
      {zones.size > 0 && (
        <Choice
          label="Zone"
          all="All zones"
          value={filter.zone}
          options={[...zones].sort().map((zone) => [zone, zone])}
          onChange={(zone) => setQuery({ zone })}
        />
      )}
      {kinds.size > 0 && (
        <Choice
          label="Kind"
          all="All kinds"
          value={filter.kind}
          options={[...kinds].sort().map((kind) => [kind, kind])}
          onChange={(kind) => setQuery({ kind })}
        />
      )}
    </search>
  );
}

interface ChoiceProps {
  label: string;
  /** What stands for no choice. */
  all: string;
  value: string;
  options: [value: string, word: string][];
  onChange(value: string): void;
}

/** More than these are found by search. */
const MOST = 200;

export function Choice({ label, all, value, options, onChange }: ChoiceProps) {
  return (
    <select aria-label={label} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
      <option value="">{all}</option>
      {options.slice(0, MOST).map(([each, word]) => (
        <option key={each} value={each}>
          {word}
        </option>
      ))}
    </select>
  );
}
