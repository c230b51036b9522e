import { create, fromBinary } from '@bufbuild/protobuf';
import {
  Event_Severity,
  type Report,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { MonitorRecordSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Background } from '../../../lib/background.ts';
import { encode } from '../../../lib/encode.ts';
import { DomainError } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/logger.ts';
import { type Store, StoreUnavailableError } from '../../../state/store.ts';
import type { Chore, ChoreContext } from '../../agent/care/chore.ts';
import type { EventWriter, NewEvent } from '../events.ts';
import { summaryOf } from './report-text.ts';
import type { Reports } from './reports.ts';

export interface DailyReportOptions {
  store: Store;
  reports: Pick<Reports, 'make'>;
  events: EventWriter;
  background: Background;
  log: Logger;
  /** "HH:MM" UTC; empty: never. */
  at: string;
}

const REPORT_KEY = 'monitor/report';
const DAY_MS = 86_400_000;
/** After one that could not be made. */
const RETRY_MS = 60_000;
const MAX_PROPOSALS = 3;
const MAX_ATTRIBUTE = 256;

/**
 * Makes the report of the day before, once for each namespace: the record says up to when there is one, and is written in
 * the commit of its event. After an outage of days only the last day is told of.
 */
export class DailyReport implements Chore {
  readonly name = 'daily report';
  readonly #options: DailyReportOptions;
  /** When there is something to do in a namespace, by the store's clock. */
  readonly #nextMs = new Map<string, number>();
  #busy = false;

  constructor(options: DailyReportOptions) {
    this.#options = options;
  }

  async run(context: ChoreContext): Promise<void> {
    const { at, background } = this.#options;
    const { namespace, storeMs } = context;
    // One at a time: it is due in all namespaces at once.
    if (at === '' || this.#busy || storeMs < (this.#nextMs.get(namespace) ?? 0)) return;
    this.#busy = true;
    // Other chores need not wait for it.
    background.run('daily report', () => this.#look(context).finally(() => (this.#busy = false)));
  }

  async #look(context: ChoreContext): Promise<void> {
    const { namespace, storeMs } = context;
    try {
      const dueMs = lastDue(storeMs, this.#options.at);
      this.#nextMs.set(namespace, storeMs + RETRY_MS);
      if (await this.#make(context, dueMs)) this.#nextMs.set(namespace, dueMs + DAY_MS);
    } catch (error) {
      if (error instanceof DomainError) {
        this.#options.log.warn({ namespace, err: error }, 'the daily report waits');
      } else if (!(error instanceof StoreUnavailableError)) throw error;
    }
  }

  /** @returns whether there is a report, by whomever */
  async #make({ namespace, fence }: ChoreContext, dueMs: number): Promise<boolean> {
    const { store, reports, events, log } = this.#options;
    const entry = await store.get(namespace, REPORT_KEY);
    const madeMs =
      entry === undefined ? undefined : Number(fromBinary(MonitorRecordSchema, entry.value).timeMs);
    if (madeMs !== undefined && madeMs >= dueMs) return true;
    // Of a time before anybody looked after the namespace there is nothing to tell.
    const window = { fromMs: dueMs - DAY_MS, toMs: dueMs };
    const report = madeMs === undefined ? undefined : await reports.make(namespace, window);
    const record = create(MonitorRecordSchema, { format: 1, timeMs: BigInt(dueMs) });
    const outcome = await store.commit({
      namespace,
      checks: [fence, { key: REPORT_KEY, revision: entry?.revision ?? 0n }],
      puts: [{ key: REPORT_KEY, value: encode(MonitorRecordSchema, record) }],
      ...(report === undefined ? {} : { appends: [events.append(reportEvent(report, dueMs))] }),
    });
    if (outcome.kind !== 'committed') return false;
    if (report !== undefined) log.info({ namespace }, 'the daily report was made');
    return true;
  }
}

/** The last time that it was `at` o'clock, UTC. */
export function lastDue(nowMs: number, at: string): number {
  const [hours = 0, minutes = 0] = at.split(':').map(Number);
  const dayMs = Math.floor(nowMs / DAY_MS) * DAY_MS;
  const todayMs = dayMs + (hours * 60 + minutes) * 60_000;
  return todayMs <= nowMs ? todayMs : todayMs - DAY_MS;
}

/** The report in short; GetReport tells all of it. */
function reportEvent(report: Report, endMs: number): NewEvent {
  const attributes: Record<string, string> = {
    start_time: new Date(endMs - DAY_MS).toISOString(),
    end_time: new Date(endMs).toISOString(),
    incidents: String(report.incidentCount),
    proposals: String(report.proposals.length),
  };
  for (const { name, avg, max } of report.figures) {
    // Resources are many; the report has them.
    if (name.includes(' ')) continue;
    if (avg !== undefined) attributes[`${name}.avg`] = String(Number(avg.toPrecision(4)));
    if (max !== undefined) attributes[`${name}.max`] = String(Number(max.toPrecision(4)));
  }
  for (const [index, proposal] of report.proposals.slice(0, MAX_PROPOSALS).entries()) {
    attributes[`proposal.${index + 1}`] = proposal.slice(0, MAX_ATTRIBUTE).toWellFormed();
  }
  return {
    type: 'report.daily',
    severity: Event_Severity.INFO,
    message: `report of the day: ${summaryOf(report)}`,
    actor: 'rule:report',
    attributes,
  };
}
