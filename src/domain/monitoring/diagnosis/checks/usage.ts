import { Finding_Severity } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Ledger } from '../../../resource/ledger.ts';
import type { AgentFigures, ResourceFigures } from '../../../resource/pool/types.ts';
import type { Check, Found } from '../check.ts';
import { count, few, percent } from '../words.ts';

export interface UsageCheckOptions {
  /** Undefined: nothing is known of the namespace. */
  ledger(namespace: string): Pick<Ledger, 'pool'> | undefined;
  /** `alert_thresholds.resource_usage`. */
  threshold: number;
}

/** Whether agents use no more than they have, and no more is promised of them than there is. */
export function verifyUsage({ ledger, threshold }: UsageCheckOptions): Check {
  return {
    id: 'resource_management.verify_usage',
    step: 4,
    async run({ namespaces }) {
      const found: Found[] = [];
      const fullest: string[] = [];
      for (const namespace of namespaces) {
        const usage = ledger(namespace)?.pool.usage();
        if (usage === undefined) continue;
        found.push(...over(usage.agents, namespace), ...full(usage.total, threshold, namespace));
        for (const figures of usage.total) if (figures.capacity > 0) fullest.push(takenOf(figures));
      }
      const most = fullest.length === 0 ? 'nothing is declared' : few(fullest);
      return { found, well: `No agent uses or has reserved more than it has; taken: ${most}.` };
    },
  };
}

/** Agents may use what nobody reserved: both are told. */
function takenOf({ resource, capacity, reserved, used }: ResourceFigures): string {
  const usedWords = used === undefined ? '' : `, ${percent(used / capacity)} used`;
  return `${resource} ${percent(reserved / capacity)} reserved${usedWords}`;
}

const shareOf = ({ capacity, reserved, used }: ResourceFigures): number =>
  Math.max(reserved, used ?? 0) / capacity;

function over(agents: readonly AgentFigures[], namespace: string): Found[] {
  const promised: { id: string; words: string }[] = [];
  const overused: { id: string; words: string }[] = [];
  for (const { agentId, resources } of agents) {
    for (const { resource, capacity, reserved, reservable, used, excess } of resources) {
      if (excess > 0)
        promised.push({
          id: agentId,
          words: `${agentId}: ${reserved} ${resource} reserved, ${reservable} may be`,
        });
      if (used !== undefined && capacity > 0 && used > capacity)
        overused.push({
          id: agentId,
          words: `${agentId}: says that it uses ${used} of ${capacity} ${resource}`,
        });
    }
  }
  const found: Found[] = [];
  if (promised.length > 0) {
    found.push({
      code: 'over_reserved',
      severity: Finding_Severity.WARNING,
      summary: `More is reserved than may be on ${count(promised.length, 'agent')}: ${few(promised.map(({ id }) => id))}.`,
      evidence: promised.map(({ words }) => words),
      advice:
        'Their capacity shrank. Have work moved away: orchestrator resources rebalance plan, or resources.on_shrink: move.',
      namespace,
      subjects: promised.map(({ id }) => id),
    });
  }
  if (overused.length > 0) {
    found.push({
      code: 'overused',
      severity: Finding_Severity.WARNING,
      summary: `${count(overused.length, 'agent')} say that they use more than they have: ${few(overused.map(({ id }) => id))}.`,
      evidence: overused.map(({ words }) => words),
      advice: 'What they declare as capacity is too little, or tasks take more than they ask for.',
      namespace,
      subjects: overused.map(({ id }) => id),
    });
  }
  return found;
}

function full(total: readonly ResourceFigures[], threshold: number, namespace: string): Found[] {
  const high = total.filter((figures) => figures.capacity > 0 && shareOf(figures) > threshold);
  if (high.length === 0) return [];
  return [
    {
      code: 'resource_usage_high',
      severity: Finding_Severity.WARNING,
      summary: `Of ${few(high.map(({ resource }) => resource))} more than ${percent(threshold)} is taken.`,
      evidence: high.map(
        ({ resource, capacity, reserved, used }) =>
          `${resource}: ${reserved} of ${capacity} reserved${used === undefined ? '' : `, ${used} used`}`,
      ),
      advice: 'Start more agents before work has to wait.',
      namespace,
      subjects: high.map(({ resource }) => resource),
    },
  ];
}
