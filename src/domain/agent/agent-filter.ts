import type { Agent } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { AgentFilter } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { fingerprint } from '../../lib/page-token.ts';
import { formatLabelSelector, matches, parseLabelSelector } from './label-selector.ts';

type AgentPredicate = (agent: Agent) => boolean;

/** Whether an agent matches all given parts of a validated filter. Throws LabelSelectorError on one that is not. */
export function compileAgentFilter(filter: AgentFilter | undefined): AgentPredicate {
  const parts = filter === undefined ? [] : compileParts(filter);
  const [only] = parts;
  if (only === undefined) return () => true;
  if (parts.length === 1) return only;
  return (agent) => {
    for (const part of parts) {
      if (!part(agent)) return false;
    }
    return true;
  };
}

/** Cheapest first. */
function compileParts(filter: AgentFilter): AgentPredicate[] {
  const parts: AgentPredicate[] = [];
  const { phases, liveness, kinds, capabilities } = filter;
  if (phases.length > 0) parts.push((agent) => phases.includes(agent.phase));
  if (liveness.length > 0) parts.push((agent) => liveness.includes(agent.liveness));
  if (kinds.length > 0) {
    const wanted = new Set(kinds);
    parts.push((agent) => wanted.has(agent.spec?.kind ?? ''));
  }
  const selector = parseLabelSelector(filter.labelSelector);
  if (selector.requirements.length > 0) {
    parts.push((agent) => matches(selector, agent.spec?.labels ?? NO_LABELS));
  }
  if (capabilities.length > 0) {
    const wanted = new Set(capabilities);
    parts.push((agent) => agent.spec?.capabilities.some(({ name }) => wanted.has(name)) ?? false);
  }
  return parts;
}

const NO_LABELS: { readonly [key: string]: string } = Object.freeze({});

/** Equal for filters that mean the same: order and repetition do not count, nor does how the selector is spelled. */
export function filterFingerprint(filter: AgentFilter | undefined): string {
  if (filter === undefined) return fingerprint([[], [], [], [], '']);
  return fingerprint([
    unordered(filter.phases),
    unordered(filter.liveness),
    unordered(filter.kinds),
    unordered(filter.capabilities),
    formatLabelSelector(parseLabelSelector(filter.labelSelector)),
  ]);
}

function unordered<T extends string | number>(values: readonly T[]): T[] {
  return [...new Set(values)].sort();
}
