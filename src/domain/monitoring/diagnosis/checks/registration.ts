import { Agent_Liveness, Agent_Phase } from '../../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Finding_Severity } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { msFromTimestamp } from '../../../../lib/proto-time.ts';
import type { AgentDirectory } from '../../../agent/directory.ts';
import { agentOf } from '../../../agent/record.ts';
import type { Check, Found } from '../check.ts';
import { count, few, percent, time } from '../words.ts';

export interface RegistrationOptions {
  directory: AgentDirectory;
  storeMs(): number;
  limits: { maxAgents: number; maxNamespaces: number };
}

/** Whoever registers attaches at once, or soon. */
const NEVER_SEEN_MS = 600_000;
const NEAR_SHARE = 0.9;

/** Whether those who are registered came, and whether more can be. */
export function checkRegistration({ directory, storeMs, limits }: RegistrationOptions): Check {
  return {
    id: 'agent_management.check_registration',
    step: 2,
    async run(scope) {
      const found: Found[] = [];
      let agents = 0;
      for (const namespace of scope.namespaces) {
        const waiting: { id: string; ageMs: number }[] = [];
        for (const { id, record } of directory.all(namespace)) {
          await scope.breathe();
          agents += 1;
          const { liveness, phase, createTime } = agentOf(record);
          const ageMs = createTime === undefined ? 0 : storeMs() - msFromTimestamp(createTime);
          if (liveness !== Agent_Liveness.NEVER_SEEN || phase === Agent_Phase.STOPPED) continue;
          if (ageMs >= NEVER_SEEN_MS) waiting.push({ id, ageMs });
        }
        found.push(...neverSeen(waiting, namespace));
        found.push(...near(directory.count(namespace), limits.maxAgents, 'agents', namespace));
      }
      if (scope.whole) found.push(...near(scope.namespaces.length, limits.maxNamespaces, 'namespaces', ''));
      const where = count(scope.namespaces.length, 'namespace');
      return {
        found,
        well: `${count(agents, 'agent')} in ${where} registered; each has attached, or did so a moment ago.`,
      };
    },
  };
}

function neverSeen(waiting: { id: string; ageMs: number }[], namespace: string): Found[] {
  if (waiting.length === 0) return [];
  waiting.sort((a, b) => b.ageMs - a.ageMs);
  const ids = waiting.map(({ id }) => id);
  return [
    {
      code: 'agent_never_seen',
      severity: Finding_Severity.WARNING,
      summary: `${count(ids.length, 'agent')} registered and never attached: ${few(ids)}.`,
      evidence: waiting.map(({ id, ageMs }) => `${id}: registered ${time(ageMs)} ago`),
      advice:
        'See whether their processes run and open a session; or take them away: orchestrator agents deregister.',
      namespace,
      subjects: ids,
    },
  ];
}

function near(are: number, most: number, what: 'agents' | 'namespaces', namespace: string): Found[] {
  if (are < most * NEAR_SHARE) return [];
  return [
    {
      code: `${what}_near_limit`,
      severity: are >= most ? Finding_Severity.CRITICAL : Finding_Severity.WARNING,
      summary: `There are ${are} of at most ${most} ${what}${namespace === '' ? '' : ' in the namespace'}; beyond it registration is refused.`,
      evidence: [`${percent(are / most)} of limits.max_${what}`],
      advice: `Raise limits.max_${what}, or set forget_after on agents that come and go.`,
      namespace,
    },
  ];
}
