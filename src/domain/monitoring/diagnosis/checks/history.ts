import { Finding_Severity } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Check, Found } from '../check.ts';
import type { HistoryHealth } from '../ports.ts';
import { settled } from '../settled.ts';
import { bytes, count } from '../words.ts';

export interface HistoryOptions {
  history(): HistoryHealth;
}

/** Whether what is measured is kept. */
export function reviewHistory({ history }: HistoryOptions): Check {
  return {
    id: 'system_monitoring.review_history',
    step: 3,
    async run(scope) {
      const found: Found[] = [];
      const first = history();
      const waiting = `${count(first.chunks, 'chunk')} (${bytes(first.bytes)}) wait to be stored`;
      if (!first.available) {
        found.push({
          code: 'history_unavailable',
          severity: Finding_Severity.CRITICAL,
          summary: 'The monitoring database does not answer: history is not kept, and queries of it fail.',
          evidence: [first.detail, waiting].filter((text) => text !== ''),
          advice: 'See databases.monitoring. Measurements are held back meanwhile, as far as there is room.',
        });
      } else {
        const stuck = await settled(
          () => (history().chunks >= first.chunks && first.chunks > 0 ? [first] : []),
          () => 'stuck',
          scope,
        );
        if (stuck.length > 0) {
          found.push({
            code: 'history_behind',
            severity: Finding_Severity.WARNING,
            summary: `History is behind: ${waiting}, and they do not become fewer.`,
            evidence: [`${count(history().chunks, 'chunk')} wait ${scope.settleMs / 1000} s later`],
            advice: 'See the log of this replica, and how long commits to the monitoring database take.',
          });
        }
      }
      if (first.dropped > 0) {
        found.push({
          code: 'history_gap',
          severity: Finding_Severity.WARNING,
          summary: `${count(first.dropped, 'chunk')} of measurements were dropped since this replica started: history has gaps.`,
          evidence: ['the monitoring database was away for longer than could be held back'],
          advice: 'Nothing brings them back; keep the database reachable.',
        });
      }
      return { found, well: `History is kept; ${waiting}.` };
    },
  };
}
