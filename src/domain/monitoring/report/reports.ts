import { create } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type GetReportRequest,
  type GetReportResponse,
  GetReportResponseSchema,
  type Report,
  ReportResourceSchema,
  ReportSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import {
  GetUsageRequestSchema,
  type RebalancePlan,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import { msFromDuration, msFromTimestamp, timestampFromMs } from '../../../lib/proto-time.ts';
import { namespaceOf } from '../../namespaces.ts';
import { incidentsOf } from './incidents.ts';
import type { ReportSources, Window } from './ports.ts';
import { proposalsOf } from './proposals.ts';
import { measuredFigures } from './report-figures.ts';
import { reportText } from './report-text.ts';

export interface ReportsOptions {
  sources: ReportSources;
  /** Above it a resource is nearly used up: `alert_thresholds.resource_usage`. */
  highUsage: number;
  /** The store's clock. */
  nowMs(): number;
}

const DAY_MS = 86_400_000;
/** A window that ended so long ago is not about what is now. */
const PAST_MS = 60_000;
/** Each reads a lot. */
const MAX_AT_ONCE = 4;

/** Says what there is to say of a window of time. */
export class Reports {
  readonly #options: ReportsOptions;
  #making = 0;

  constructor(options: ReportsOptions) {
    this.#options = options;
  }

  /** @throws DomainError LIMIT_REACHED; StoreUnavailableError */
  async get(request: GetReportRequest): Promise<GetReportResponse> {
    const nowMs = this.#options.nowMs();
    const endMs = request.endTime === undefined ? nowMs : msFromTimestamp(request.endTime);
    // What is to come cannot be told.
    const toMs = Math.min(endMs, nowMs);
    const fromMs = toMs - (request.window === undefined ? DAY_MS : msFromDuration(request.window));
    const report = await this.make(namespaceOf(request), { fromMs, toMs });
    return create(GetReportResponseSchema, { report });
  }

  /** @throws DomainError LIMIT_REACHED; StoreUnavailableError */
  async make(namespace: string, window: Window): Promise<Report> {
    if (this.#making >= MAX_AT_ONCE) {
      throw new DomainError({
        reason: ErrorReason.LIMIT_REACHED,
        message: `${MAX_AT_ONCE} reports are being made on this replica`,
        retryAfterMs: 1000,
      });
    }
    this.#making += 1;
    try {
      return await this.#make(namespace, window);
    } finally {
      this.#making -= 1;
    }
  }

  async #make(namespace: string, window: Window): Promise<Report> {
    const { sources, highUsage, nowMs } = this.#options;
    const { figures, historyRead } = await measuredFigures(sources, namespace, window);
    const usage = await sources.usage(create(GetUsageRequestSchema, { namespace }));
    const { plan, fault: planFault } = await planOf(sources, namespace);
    const tasks = await sources.tasks(namespace, window);
    const incidents = await incidentsOf(sources, namespace, window);
    const report = create(ReportSchema, {
      namespace,
      startTime: timestampFromMs(window.fromMs),
      endTime: timestampFromMs(window.toMs),
      figures: figures.map(({ figure }) => figure),
      agents: [...sources.agents(namespace)],
      resources: usage.total.map(({ resource, capacity, reserved, used }) => {
        const measured = figures.find(
          (each) => each.metric === 'resource_usage' && each.resource === resource,
        );
        const { avg, max } = measured?.figure ?? {};
        return create(ReportResourceSchema, {
          ...{ resource, capacity, reserved },
          ...(used === undefined ? {} : { used }),
          ...(avg === undefined ? {} : { usageAvg: avg }),
          ...(max === undefined ? {} : { usageMax: max }),
        });
      }),
      tasks: Object.fromEntries(tasks),
      proposals: proposalsOf({
        ...{ usage, plan, figures, highUsage, nowMs: nowMs() },
        windowMs: window.toMs - window.fromMs,
      }),
      incidents: incidents.shown,
      incidentCount: incidents.count,
    });
    report.text = reportText(report, {
      ...{ historyRead, planFault, truncated: incidents.truncated },
      isPast: nowMs() - window.toMs >= PAST_MS,
    });
    return report;
  }
}

async function planOf(
  { plan }: Pick<ReportSources, 'plan'>,
  namespace: string,
): Promise<{ plan: RebalancePlan | undefined; fault: string }> {
  try {
    return { plan: await plan(namespace), fault: '' };
  } catch (error) {
    // A fleet that is too large to plan for has a report all the same.
    if (error instanceof DomainError) return { plan: undefined, fault: error.message };
    throw error;
  }
}
