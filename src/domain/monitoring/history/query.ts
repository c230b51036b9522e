import { create } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  Aggregation,
  type Metric,
  MetricScope,
  MetricScopeSchema,
  type MetricSeries,
  MetricSeriesSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import {
  type QueryMetricsRequest,
  type QueryMetricsResponse,
  QueryMetricsResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { HistoryConfig } from '../../../config/monitoring-config.ts';
import { Breather } from '../../../lib/breather.ts';
import type { Clock } from '../../../lib/clock.ts';
import { DomainError } from '../../../lib/errors.ts';
import { durationFromMs, msFromDuration, msFromTimestamp } from '../../../lib/proto-time.ts';
import type { Store } from '../../../state/store.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { matches, parseLabelSelector } from '../../agent/label-selector.ts';
import { agentOf } from '../../agent/record.ts';
import { namespaceOf, SYSTEM_NAMESPACE } from '../../namespaces.ts';
import { isSystemScope, metricOf } from '../figures/catalogue.ts';
import { Bins } from './bins.ts';
import { readCells } from './cells.ts';
import { decodeChunk, type Subject, type Tier } from './chunks.ts';
import { niceStep, type Plan, planOf, type Segment } from './plan.ts';
import { readChunks, readSubjects, type StoredChunk } from './read-chunks.ts';

export interface HistoryQueryOptions {
  store: Store;
  config: HistoryConfig;
  clock: Clock;
  directory: Pick<AgentDirectory, 'all'>;
  /** The store's clock. */
  nowMs(): number;
  /** Ids of what this replica measures: of some nothing is stored yet. */
  measured(namespace: string, scope: MetricScope): Iterable<string>;
  /** Chunks of a subject that this replica has written or is about to, and that are not stored yet; by key. */
  unstored(namespace: string, tier: Tier, subject: Subject): ReadonlyMap<string, Uint8Array>;
}

const HOUR_MS = 3_600_000;
const MAX_POINTS = 100_000;
const MAX_CHUNKS = 20_000;
const MAX_SUBJECTS = 10_000;
/** Subjects that are read side by side: a store that is asked over the network answers many at a time. */
const TOGETHER = 16;

type Series = Map<string, { id: string; resource: string; bins: Bins }>;

/** Answers what was measured over a range of time. */
export class HistoryQuery {
  readonly #options: HistoryQueryOptions;

  constructor(options: HistoryQueryOptions) {
    this.#options = options;
  }

  /** @throws DomainError INVALID_FIELDS, RANGE_TOO_LARGE; StoreUnavailableError */
  async run(request: QueryMetricsRequest): Promise<QueryMetricsResponse> {
    const { config, nowMs } = this.#options;
    const metric = metricFor(request);
    const namespace = isSystemScope(request.scope) ? SYSTEM_NAMESPACE : namespaceOf(request);
    const aggregations = request.aggregations.length === 0 ? [Aggregation.AVG] : request.aggregations;
    const now = nowMs();
    const toMs = request.endTime === undefined ? now + 1 : msFromTimestamp(request.endTime);
    const fromMs = request.startTime === undefined ? toMs - HOUR_MS : msFromTimestamp(request.startTime);
    if (fromMs >= toMs) throw invalid('start_time', 'must be before end_time');
    const stepMs = request.step === undefined ? undefined : msFromDuration(request.step);
    const plan = planOf({ scope: request.scope, fromMs, toMs, stepMs, nowMs: now, config });
    const reading = new Reading(this.#options.clock);
    const subjects = await this.#subjects(request, namespace, plan, reading);
    bound(plan, subjects.length, request.merge, toMs - fromMs);
    const series: Series = new Map();
    const take = (subject: Subject, segment: Segment, chunk: StoredChunk): void => {
      const decoded = decodeChunk(chunk.value);
      for (const column of decoded?.columns ?? []) {
        if (decoded === undefined || column.metric !== metric.name) continue;
        if (request.resource !== '' && column.resource !== request.resource) continue;
        const id = request.merge ? '' : subject.id;
        const key = `${id} ${column.resource}`;
        let found = series.get(key);
        if (found === undefined) {
          const bins = new Bins({ fromMs, toMs, stepMs: plan.stepMs, aggregations });
          found = { id, resource: column.resource, bins };
          series.set(key, found);
          if (series.size * plan.points > MAX_POINTS) throw tooManyPoints(series.size, plan, toMs - fromMs);
        }
        const { startMs } = chunk;
        found.bins.begin({ startMs, stepMs: decoded.stepMs, fromMs: segment.fromMs, toMs: segment.toMs });
        readCells(column.cells, found.bins);
      }
    };
    for (let at = 0; at < subjects.length; at += TOGETHER) {
      const group = subjects.slice(at, at + TOGETHER);
      await reading.pause();
      await Promise.all(
        group.map(async (subject) => {
          for (const segment of plan.segments) {
            for await (const chunk of this.#chunks(namespace, subject, segment)) {
              await reading.chunk();
              take(subject, segment, chunk);
            }
          }
        }),
      );
    }
    return create(QueryMetricsResponseSchema, {
      series: [...series.values()]
        .sort((a, b) => (a.id === b.id ? compare(a.resource, b.resource) : compare(a.id, b.id)))
        .map(({ id, resource, bins }) => seriesOf(request.scope, id, resource, bins)),
      step: durationFromMs(plan.stepMs),
      resolution: durationFromMs(plan.resolutionMs),
      aggregations,
      metric,
    });
  }

  /** What is stored, and in its place what this replica has newer. */
  async *#chunks(
    namespace: string,
    subject: Subject,
    segment: Segment,
  ): AsyncGenerator<StoredChunk, void, undefined> {
    const unstored = this.#options.unstored(namespace, segment.tier, subject);
    for await (const chunk of readChunks(this.#options.store, namespace, subject, segment)) {
      if (!unstored.has(chunk.key)) yield chunk;
    }
    for (const [key, value] of unstored) {
      const startMs = Number(decodeChunk(value)?.startMs ?? 0n);
      if (startMs < segment.toMs) yield { key, value, startMs };
    }
  }

  async #subjects(
    request: QueryMetricsRequest,
    namespace: string,
    plan: Plan,
    reading: Reading,
  ): Promise<Subject[]> {
    const { scope, ids, selector } = request;
    if (scope === MetricScope.FLEET) return [{ scope, id: '' }];
    const named = ids.length === 0 ? undefined : new Set(ids);
    if (selector !== '') {
      const parsed = parseLabelSelector(selector);
      const found: Subject[] = [];
      for (const { id, record } of this.#options.directory.all(namespace)) {
        if (named?.has(id) === false || !matches(parsed, agentOf(record).spec?.labels ?? {})) continue;
        found.push({ scope, id });
      }
      return found;
    }
    if (named !== undefined) return [...named].map((id) => ({ scope, id }));
    const found = new Map<string, Subject>();
    for (const id of this.#options.measured(namespace, scope)) found.set(id, { scope, id });
    for (const tier of new Set(plan.segments.map((segment) => segment.tier))) {
      for await (const { id } of readSubjects(this.#options.store, namespace, tier, scope)) {
        await reading.pause();
        found.set(id, { scope, id });
        if (found.size > MAX_SUBJECTS) throw tooManySubjects(found.size);
        // Further ones could not be read anyway.
        if (found.size * plan.chunks > MAX_CHUNKS) break;
      }
    }
    return [...found.values()];
  }
}

/** Counts what one query reads, and lets others have their turn. */
class Reading {
  readonly #breather: Breather;
  #chunks = 0;

  constructor(clock: Clock) {
    this.#breather = new Breather(() => clock.monoMs());
  }

  async chunk(): Promise<void> {
    this.#chunks += 1;
    if (this.#chunks > MAX_CHUNKS)
      throw tooMuch(`it would read more than ${MAX_CHUNKS} stretches of history`);
    await this.pause();
  }

  async pause(): Promise<void> {
    if (this.#breather.isDue) await this.#breather.breathe();
  }
}

function metricFor({ metric: name, scope, namespace, selector, resource }: QueryMetricsRequest): Metric {
  const metric = metricOf(name);
  if (metric === undefined) throw invalid('metric', `there is no metric "${name}"; ListMetrics tells them`);
  if (!metric.scopes.includes(scope)) {
    const names = metric.scopes.map((each) => MetricScopeSchema.value[each]?.localName ?? '').join(', ');
    throw invalid('scope', `${name} is measured of ${names}`);
  }
  if (isSystemScope(scope) && namespace !== '' && namespace !== SYSTEM_NAMESPACE) {
    throw invalid('namespace', `figures of replicas and services are in "${SYSTEM_NAMESPACE}"`);
  }
  if (selector !== '' && scope !== MetricScope.AGENT) throw invalid('selector', 'is of agents only');
  if (resource !== '' && !metric.perResource) throw invalid('resource', `${name} is of no resource`);
  return metric;
}

function bound(plan: Plan, subjects: number, merge: boolean, rangeMs: number): void {
  const series = merge ? 1 : subjects;
  if (series * plan.points > MAX_POINTS) throw tooManyPoints(series, plan, rangeMs);
  if (subjects * plan.chunks <= MAX_CHUNKS) return;
  const fitting = Math.max(1, Math.floor(MAX_CHUNKS / plan.chunks));
  const share = Math.floor((rangeMs * MAX_CHUNKS) / (subjects * plan.chunks) / 1000);
  throw tooMuch(
    `it would read ${subjects * plan.chunks} stretches of history, at most ${MAX_CHUNKS} are read: ` +
      `at most ${fitting} subjects over this range would do, or a range of at most ${share} s of these`,
  );
}

function tooManyPoints(series: number, plan: Plan, rangeMs: number): DomainError {
  const step = niceStep((rangeMs * series) / (MAX_POINTS - 2 * series));
  const advice =
    series < MAX_POINTS / 4 ? `a step of ${step / 1000} s would do` : 'ask for fewer, or merge them';
  return tooMuch(`it would give ${series * plan.points} points, at most ${MAX_POINTS} are given: ${advice}`);
}

const tooManySubjects = (count: number): DomainError =>
  tooMuch(`there are more than ${count - 1} of them: name some by ids or a selector`);

const tooMuch = (message: string): DomainError =>
  new DomainError({ reason: ErrorReason.RANGE_TOO_LARGE, message });

const invalid = (field: string, description: string): DomainError =>
  new DomainError({
    reason: ErrorReason.INVALID_FIELDS,
    message: `${field} ${description}`,
    violations: [{ field, description }],
  });

function seriesOf(scope: MetricScope, id: string, resource: string, bins: Bins): MetricSeries {
  return create(MetricSeriesSchema, { scope, id, resource, points: bins.points() });
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
