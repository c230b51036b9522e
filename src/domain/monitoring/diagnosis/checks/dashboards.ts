import { Finding_Severity } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Check, Found } from '../check.ts';
import { count } from '../words.ts';

export interface DashboardsOptions {
  /** Whether the page was built and is served. */
  built(): boolean;
  /** Streams that are open at this replica, and how many may be. */
  watches(): { open: number; most: number };
}

const NEAR_SHARE = 0.9;

/** Whether there is a page to look at, and room for whoever looks. */
export function monitorDashboards({ built, watches }: DashboardsOptions): Check {
  return {
    id: 'system_monitoring.monitor_dashboards',
    step: 3,
    async run() {
      const found: Found[] = [];
      const { open, most } = watches();
      if (!built()) {
        found.push({
          code: 'dashboard_missing',
          severity: Finding_Severity.WARNING,
          summary: 'The web page is not served: it was not built.',
          advice: 'npm run build makes it.',
        });
      }
      if (open >= most * NEAR_SHARE) {
        found.push({
          code: 'watches_near_limit',
          severity: Finding_Severity.WARNING,
          summary: `${open} of at most ${most} streams of watchers are open at this replica; beyond it pages and watches are refused.`,
          advice: 'Raise limits.max_watches, or send some watchers to another replica.',
        });
      }
      return {
        found,
        well: `The web page is served; ${count(open, 'stream')} of watchers open, of at most ${most}.`,
      };
    },
  };
}
