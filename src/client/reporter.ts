import { create, equals, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type ProcessReportSchema,
  type Progress,
  ProgressSchema,
  type Report,
  ReportSchema,
  type Work,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';

/** How the agent is. A field that is left out stays as it was; undefined takes it back. */
export interface AgentReport {
  /** What it is busy with; selects the progress budget of AgentSpec.activities. */
  activity?: string | undefined;
  /** 0..1; undefined: not measured. */
  load?: number | undefined;
  /** What it uses now, with the keys of AgentSpec.capacity. */
  usage?: Readonly<Record<string, number | bigint>> | undefined;
  /** A hash of its effective configuration. */
  configHash?: string | undefined;
  /** The process that this agent stands for, where a supervisor reports for it. */
  process?: MessageInitShape<typeof ProcessReportSchema> | undefined;
}

/** The service takes no more counters than this in one report. */
const maxCounters = 256;

/** Keeps the report, finds out whether it changed since it was sent, and paces unprompted sending. */
export class Reporter {
  readonly #pull: (() => AgentReport) | undefined;
  readonly #minIntervalMs: number;
  readonly #flush: () => void;
  readonly #onError: (error: unknown) => void;
  readonly #counters = new Map<string, Progress>();
  #fields: AgentReport = {};
  #sent: Report | undefined;
  #sentAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: {
    pull: (() => AgentReport) | undefined;
    minIntervalMs: number;
    /** Sends an unprompted heartbeat; calls `take`. */
    flush: () => void;
    /** `pull` threw, or gave what the service would refuse. */
    onError: (error: unknown) => void;
  }) {
    this.#pull = options.pull;
    this.#minIntervalMs = options.minIntervalMs;
    this.#flush = options.flush;
    this.#onError = options.onError;
  }

  /** Changes fields. Throws RangeError on values that the service would refuse. */
  set(report: AgentReport): void {
    check(report);
    this.#fields = { ...this.#fields, ...report };
    this.#schedule();
  }

  /** Sets a counter; that of work may have a name, too. Throws RangeError on a bad number or one counter too many. */
  progress(what: string | Work, done: number | bigint, total?: number | bigint, name = ''): void {
    const key = counterKey(what);
    if (!this.#counters.has(key) && this.#counters.size >= maxCounters) {
      throw new RangeError(`a report holds at most ${maxCounters} progress counters; drop finished ones`);
    }
    const counter = create(ProgressSchema, {
      ...(typeof what === 'string' ? { name: what } : { work: what, name }),
      done: BigInt(done),
      ...(total === undefined ? {} : { total: BigInt(total) }),
    });
    if (counter.done < 0n || (counter.total ?? 0n) < 0n)
      throw new RangeError('progress must not be negative');
    this.#counters.set(key, counter);
    this.#schedule();
  }

  /** Takes a counter out of the report. */
  drop(what: string | Work): void {
    if (this.#counters.delete(counterKey(what))) this.#schedule();
  }

  /** The report to send now: undefined when it did not change since it was taken last, unless `full`. */
  take(full: boolean): Report | undefined {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const report = this.#build();
    if (!full && this.#sent !== undefined && equals(ReportSchema, report, this.#sent)) return undefined;
    this.#sent = report;
    this.#sentAt = performance.now();
    return report;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(): void {
    if (this.#timer !== undefined) return;
    const wait = Math.max(0, this.#sentAt + this.#minIntervalMs - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#flush();
    }, wait);
  }

  #build(): Report {
    let fields = this.#fields;
    if (this.#pull !== undefined) {
      try {
        const pulled = this.#pull();
        check(pulled);
        fields = { ...fields, ...pulled };
      } catch (error) {
        this.#onError(error);
      }
    }
    const usage = Object.entries(fields.usage ?? {}).map(([key, value]) => [key, BigInt(value)]);
    return create(ReportSchema, {
      activity: fields.activity ?? '',
      ...(fields.load === undefined ? {} : { load: fields.load }),
      usage: Object.fromEntries(usage),
      progress: [...this.#counters.values()],
      configHash: fields.configHash ?? '',
      ...(fields.process === undefined ? {} : { process: fields.process }),
    });
  }
}

function counterKey(what: string | Work): string {
  return typeof what === 'string' ? `n/${what}` : `w/${what.attempt}/${what.deliveryId}`;
}

function check(report: AgentReport): void {
  if (report.load !== undefined && !(report.load >= 0)) {
    throw new RangeError('load must be a number from 0 to 1, or undefined when it is not measured');
  }
  for (const [key, value] of Object.entries(report.usage ?? {})) {
    const whole = typeof value === 'bigint' || Number.isSafeInteger(value);
    if (!whole || value < 0) throw new RangeError(`usage.${key} must be a whole number, 0 or more`);
  }
}
