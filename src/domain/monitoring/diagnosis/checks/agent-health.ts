import { Agent_Liveness, Agent_Phase } from '../../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Finding_Severity } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { msFromDuration } from '../../../../lib/proto-time.ts';
import type { AgentReader } from '../../../agent/agent-reader.ts';
import type { AgentDirectory } from '../../../agent/directory.ts';
import type { Check, Found } from '../check.ts';
import { count, few, time } from '../words.ts';

export interface AgentHealthOptions {
  directory: AgentDirectory;
  reader: Pick<AgentReader, 'present'>;
  /** `alert_thresholds.agent_health`. */
  threshold: number;
}

/** So far an agent's clock may be off before times in its logs and traces mislead. */
const CLOCK_MS = 1000;
/** Health of an agent below which it does not do its work. */
const ILL = 0.5;
/** Heartbeats that went unanswered, of all. */
const MISSED_SHARE = 0.05;
const MISSED_LEAST = 20;

interface Ill {
  id: string;
  words: string;
}

/** Whether agents that are attached answer, get on, have room, and know what time it is. */
export function verifyHealth(options: AgentHealthOptions): Check {
  return {
    id: 'agent_management.verify_health',
    step: 2,
    async run(scope) {
      const { directory, reader, threshold } = options;
      const found: Found[] = [];
      let attached = 0;
      for (const namespace of scope.namespaces) {
        const ill: Ill[] = [];
        const off: Ill[] = [];
        const deaf: Ill[] = [];
        let sum = 0;
        let measured = 0;
        for (const known of directory.all(namespace)) {
          await scope.breathe();
          const { id, liveness, observation, phase } = reader.present(known);
          const there = liveness === Agent_Liveness.CONNECTED || liveness === Agent_Liveness.SUSPECT;
          if (!there || observation === undefined || phase === Agent_Phase.STOPPED) continue;
          attached += 1;
          const { health, clockOffset, heartbeats, missed } = observation;
          if (health !== undefined) {
            sum += health.score;
            measured += 1;
            if (health.score < ILL)
              ill.push({ id, words: `${health.score.toFixed(2)}: ${health.reasons.join('; ')}` });
          }
          const offsetMs = clockOffset === undefined ? 0 : msFromDuration(clockOffset);
          if (Math.abs(offsetMs) > CLOCK_MS)
            off.push({ id, words: `${time(Math.abs(offsetMs))} ${offsetMs > 0 ? 'ahead' : 'behind'}` });
          const asked = Number(heartbeats + missed);
          if (Number(missed) >= MISSED_LEAST && Number(missed) / asked > MISSED_SHARE)
            deaf.push({ id, words: `${missed} of ${asked} probes were never answered in this session` });
        }
        found.push(...illFound(ill, namespace), ...offFound(off, namespace), ...deafFound(deaf, namespace));
        const mean = measured === 0 ? 1 : sum / measured;
        if (mean < threshold && ill.length === 0) found.push(lowFound(mean, threshold, measured, namespace));
      }
      return {
        found,
        well: `${count(attached, 'attached agent')} healthy, clocks within ${time(CLOCK_MS)}.`,
      };
    },
  };
}

function illFound(ill: readonly Ill[], namespace: string): Found[] {
  if (ill.length === 0) return [];
  const [first] = ill;
  return [
    {
      code: 'agents_unhealthy',
      severity: Finding_Severity.WARNING,
      summary: `${count(ill.length, 'attached agent')} ${ill.length === 1 ? 'is' : 'are'} not well: ${few(ill.map(({ id }) => id))}.`,
      evidence: ill.map(({ id, words }) => `${id}: health ${words}`),
      advice: `orchestrator agents explain ${first?.id ?? ''}`,
      namespace,
      subjects: ill.map(({ id }) => id),
    },
  ];
}

function offFound(off: readonly Ill[], namespace: string): Found[] {
  if (off.length === 0) return [];
  return [
    {
      code: 'agent_clock_offset',
      severity: Finding_Severity.WARNING,
      summary: `The clocks of ${count(off.length, 'agent')} are off by more than ${time(CLOCK_MS)}: ${few(off.map(({ id }) => id))}.`,
      evidence: off.map(({ id, words }) => `${id}: ${words}, measured over its round trips`),
      advice: 'Deadlines do not depend on it, but times in its logs and traces do: run NTP or chrony there.',
      namespace,
      subjects: off.map(({ id }) => id),
    },
  ];
}

function deafFound(deaf: readonly Ill[], namespace: string): Found[] {
  if (deaf.length === 0) return [];
  return [
    {
      code: 'agents_miss_probes',
      severity: Finding_Severity.WARNING,
      summary: `${count(deaf.length, 'agent')} often ${deaf.length === 1 ? 'does' : 'do'} not answer: ${few(deaf.map(({ id }) => id))}.`,
      evidence: deaf.map(({ id, words }) => `${id}: ${words}`),
      advice: 'See the CPU of their machines, and whether they block their event loop.',
      namespace,
      subjects: deaf.map(({ id }) => id),
    },
  ];
}

function lowFound(mean: number, threshold: number, measured: number, namespace: string): Found {
  return {
    code: 'fleet_health_low',
    severity: Finding_Severity.WARNING,
    summary: `The health of attached agents is ${mean.toFixed(2)} on average, below ${threshold}.`,
    evidence: [`${count(measured, 'agent')} measured; none is below ${ILL}`],
    advice: 'Most have little headroom: orchestrator top shows their load.',
    namespace,
  };
}
