import {
  Agent_Liveness as Liveness,
  Agent_Phase as Phase,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { AgentRow } from '../../live/agent-row.ts';

/** What a table of agents is narrowed to; empty: not by this. */
export interface AgentFilter {
  /** Words that must all be found: in id, name, kind, capabilities or labels ("env=demo"). */
  text: string;
  liveness: Liveness[];
  phase: Phase | undefined;
  zone: string;
  kind: string;
}

/** The name of a state in an address: "never_seen". */
export function livenessName(liveness: Liveness): string {
  return nameOf(Liveness, liveness);
}

export function phaseName(phase: Phase): string {
  return nameOf(Phase, phase);
}

function nameOf(values: Readonly<Record<string, number>>, value: number): string {
  return (
    Object.keys(values)
      .find((name) => values[name] === value)
      ?.toLowerCase() ?? ''
  );
}

export function filterOf(query: URLSearchParams): AgentFilter {
  const liveness = (query.get('liveness') ?? '').split(',').flatMap((name) => numberOf(Liveness, name) ?? []);
  return {
    text: query.get('q') ?? '',
    liveness: liveness as Liveness[],
    phase: numberOf(Phase, query.get('phase') ?? '') as Phase | undefined,
    zone: query.get('zone') ?? '',
    kind: query.get('kind') ?? '',
  };
}

function numberOf(values: Readonly<Record<string, number>>, name: string): number | undefined {
  return name === '' ? undefined : values[name.toUpperCase()];
}

export function matches(row: AgentRow, filter: AgentFilter): boolean {
  const { text, liveness, phase, zone, kind } = filter;
  if (liveness.length > 0 && !liveness.includes(row.liveness)) return false;
  if (phase !== undefined && row.phase !== phase) return false;
  if (zone !== '' && row.zone !== zone) return false;
  if (kind !== '' && row.kind !== kind) return false;
  if (text === '') return true;
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => row.haystack.includes(word));
}
