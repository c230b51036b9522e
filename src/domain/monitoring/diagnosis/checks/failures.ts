import { Agent_Liveness, Agent_Phase } from '../../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Finding_Severity } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { msFromTimestamp } from '../../../../lib/proto-time.ts';
import type { AgentDirectory, KnownAgent } from '../../../agent/directory.ts';
import { agentOf } from '../../../agent/record.ts';
import type { Check, Found } from '../check.ts';
import { count, few, time } from '../words.ts';

export interface FailuresOptions {
  directory: AgentDirectory;
  storeMs(): number;
}

/** Failures of an agent within the hour that make it one that fails again and again. */
const FLAPPING = 3;
const HOUR_MS = 3_600_000;

/** Who is lost, set aside, or fails again and again. */
export function monitorFailures({ directory, storeMs }: FailuresOptions): Check {
  return {
    id: 'agent_management.monitor_failures',
    step: 2,
    async run(scope) {
      const found: Found[] = [];
      let agents = 0;
      for (const namespace of scope.namespaces) {
        const lost: KnownAgent[] = [];
        const aside: KnownAgent[] = [];
        const flapping: KnownAgent[] = [];
        for (const known of directory.all(namespace)) {
          await scope.breathe();
          agents += 1;
          const { liveness, phase } = agentOf(known.record);
          if (phase === Agent_Phase.QUARANTINED) aside.push(known);
          else if (liveness === Agent_Liveness.LOST) lost.push(known);
          else if (recent(known, storeMs()).length >= FLAPPING) flapping.push(known);
        }
        found.push(...lostFound(lost, namespace), ...asideFound(aside, namespace));
        found.push(...flappingFound(flapping, namespace, storeMs()));
      }
      return {
        found,
        well: `None of ${count(agents, 'agent')} is lost, set aside, or has failed again and again within the hour.`,
      };
    },
  };
}

const recent = ({ record }: KnownAgent, storeMs: number) =>
  record.failures.filter(({ time: at }) => at !== undefined && storeMs - msFromTimestamp(at) < HOUR_MS);

const why = ({ id, record }: KnownAgent): string => {
  const { verdict, quarantine } = agentOf(record);
  if (quarantine !== undefined) return `${id}: set aside by ${quarantine.actor}: ${quarantine.reason}`;
  return verdict === undefined ? id : `${id}: ${verdict.detail}`;
};

function lostFound(lost: readonly KnownAgent[], namespace: string): Found[] {
  if (lost.length === 0) return [];
  const ids = lost.map(({ id }) => id);
  return [
    {
      code: 'agents_lost',
      severity: Finding_Severity.CRITICAL,
      summary: `${count(ids.length, 'agent')} lost: ${few(ids)}.`,
      evidence: lost.map(why),
      advice: `See the evidence and what follows: orchestrator agents explain ${ids[0] ?? ''}`,
      namespace,
      subjects: ids,
    },
  ];
}

function asideFound(aside: readonly KnownAgent[], namespace: string): Found[] {
  if (aside.length === 0) return [];
  const ids = aside.map(({ id }) => id);
  return [
    {
      code: 'agents_quarantined',
      severity: Finding_Severity.WARNING,
      summary: `${count(ids.length, 'agent')} set aside (QUARANTINED) and given no work: ${few(ids)}.`,
      evidence: aside.map(why),
      advice: `When it is mended: orchestrator agents resume ${ids[0] ?? ''}`,
      namespace,
      subjects: ids,
    },
  ];
}

function flappingFound(flapping: readonly KnownAgent[], namespace: string, storeMs: number): Found[] {
  if (flapping.length === 0) return [];
  const ids = flapping.map(({ id }) => id);
  return [
    {
      code: 'agents_flapping',
      severity: Finding_Severity.WARNING,
      summary: `${count(ids.length, 'agent')} failed at least ${FLAPPING} times within the hour: ${few(ids)}.`,
      evidence: flapping.map((known) => {
        const [last] = recent(known, storeMs);
        const ago =
          last?.time === undefined ? '' : `, the last ${time(storeMs - msFromTimestamp(last.time))} ago`;
        return `${known.id}: ${recent(known, storeMs)
          .map(({ kind }) => kind)
          .join(', ')}${ago}`;
      }),
      advice: `orchestrator agents explain ${ids[0] ?? ''} shows how its process ended.`,
      namespace,
      subjects: ids,
    },
  ];
}
