import { Finding_Severity } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Check, Found } from '../check.ts';
import type { HistoryHealth } from '../ports.ts';
import { time } from '../words.ts';

export interface HistoryOptions {
  history(): HistoryHealth;
  /** When this replica started, wall clock. */
  startedMs: number;
  wallMs(): number;
}

/** Writing may be late by this much. */
const LATE_MS = 120_000;

/** Whether what is measured is kept. */
export function reviewHistory({ history, startedMs, wallMs }: HistoryOptions): Check {
  return {
    id: 'system_monitoring.review_history',
    step: 3,
    async run({ whole }) {
      const { available, detail, writtenMs, intervalMs, waiting, dropped } = history();
      const found: Found[] = [];
      const behindMs = wallMs() - (writtenMs ?? startedMs);
      const last =
        writtenMs === undefined
          ? 'nothing was stored since this replica started'
          : `stored last ${time(behindMs)} ago`;
      if (!available) {
        found.push({
          code: 'history_unavailable',
          severity: Finding_Severity.CRITICAL,
          summary: 'The monitoring database does not answer: history is not kept, and QueryMetrics fails.',
          evidence: [detail, last, `${waiting} measurements wait`].filter((text) => text !== ''),
          advice:
            'See databases.monitoring. Measurements are held back meanwhile, as far as there is room for them.',
        });
      } else if (whole && waiting > 0 && behindMs > intervalMs + LATE_MS) {
        found.push({
          code: 'history_behind',
          severity: Finding_Severity.WARNING,
          summary: `History is behind: ${waiting} measurements wait, ${last}.`,
          evidence: [`they are stored every ${time(intervalMs)}`, ...(detail === '' ? [] : [detail])],
          advice: 'See the log of this replica, and how long commits to the monitoring database take.',
        });
      }
      if (dropped > 0) {
        found.push({
          code: 'history_gap',
          severity: Finding_Severity.WARNING,
          summary: `${dropped} measurements were dropped since this replica started: history has gaps.`,
          evidence: ['the monitoring database was away for longer than could be held back'],
          advice: 'Nothing can bring them back; keep the database reachable.',
        });
      }
      return { found, well: `History is kept: ${last}, ${waiting} measurements wait.` };
    },
  };
}
