import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import { SYSTEM_NAMESPACE } from '../../namespaces.ts';
import { METRICS } from '../figures/catalogue.ts';
import type { OwnAgent } from '../figures/own-agents.ts';
import type { FiguresReader, Reading } from '../ports.ts';
import type { AgentsHistory } from './agents-history.ts';
import { SPAN_MS, type Subject, type Tier } from './chunks.ts';
import type { HistoryClock } from './history-clock.ts';
import { type Sample, SampledHistory } from './sampled-history.ts';
import type { TrackOptions } from './track.ts';

export interface SamplerOptions extends TrackOptions {
  clock: HistoryClock;
  stepMs: number;
  figures: Pick<FiguresReader, 'each' | 'namespaces'> & {
    ownSystem(metric: string, scope: MetricScope): Iterable<Reading>;
  };
  /** Agents that are attached here. */
  agents(): Iterable<OwnAgent>;
  /** Figures of resources of one of them. */
  resourcesOf(agent: OwnAgent): Iterable<Sample>;
  /** Whether this replica keeps the history of a namespace. */
  isKeeper(namespace: string): boolean;
  /** Undefined: no history of single agents is kept. */
  agentsHistory: AgentsHistory | undefined;
}

const { FLEET, ZONE, REPLICA, SERVICE } = MetricScope;
/** Zones of a namespace of which history is kept, and figures of one subject; those that come first. */
const MAX_SUBJECTS = 500;
const MAX_FIGURES = 128;
/** Resources of an agent. */
const MAX_RESOURCES = 16;
/** The resources of agents are looked at so often; they change seldom. */
const RESOURCES_EVERY_MS = 60_000;

interface Kept {
  history: SampledHistory;
  usedMs: number;
}

/** Takes samples of the figures at even steps of the store's time. */
export class Sampler {
  readonly #options: SamplerOptions;
  /** By "namespace scope id". */
  readonly #kept = new Map<string, Kept>();
  #lastStep = Number.NEGATIVE_INFINITY;
  #generation = 0;
  #lastResources = 0;

  constructor(options: SamplerOptions) {
    this.#options = options;
  }

  /** Takes the samples of this step if they were not, step by step; call it every second or more often. */
  *run(): Generator<void, void> {
    const { clock, stepMs, figures, isKeeper } = this.#options;
    const nowMs = clock.ms();
    const step = Math.floor(nowMs / stepMs);
    if (step === this.#lastStep && clock.generation === this.#generation) return;
    this.#lastStep = step;
    this.#generation = clock.generation;
    this.#sample(SYSTEM_NAMESPACE, [REPLICA, SERVICE], nowMs);
    yield;
    for (const namespace of figures.namespaces()) {
      if (namespace === SYSTEM_NAMESPACE || !isKeeper(namespace)) continue;
      this.#sample(namespace, [FLEET, ZONE], nowMs);
      yield;
    }
    yield* this.#agents(nowMs);
  }

  /** Whose history is kept here now. */
  *ids(namespace: string, scope: MetricScope): IterableIterator<string> {
    const prefix = `${namespace} ${scope} `;
    for (const key of this.#kept.keys()) if (key.startsWith(prefix)) yield key.slice(prefix.length);
  }

  /** What was added of a subject and is not handed over yet. */
  open(
    namespace: string,
    tier: Tier,
    { scope, id }: Subject,
  ): { key: string; value: Uint8Array } | undefined {
    return this.#kept.get(`${namespace} ${scope} ${id}`)?.history.open(tier);
  }

  /** Hands over what was added; call it every minute. @param all the open minutes too: nothing is measured any more */
  flush(all = false): void {
    const nowMs = this.#options.clock.ms();
    for (const [key, { history, usedMs }] of this.#kept) {
      if (all || Math.floor(usedMs / 60_000) !== Math.floor(nowMs / 60_000)) history.closeMinute();
      history.flush();
      // A chunk of its name may not be begun twice: it is kept until the hour is over.
      if (Math.abs(nowMs - usedMs) > 2 * SPAN_MS.minutes) this.#kept.delete(key);
    }
  }

  #sample(namespace: string, scopes: readonly MetricScope[], nowMs: number): void {
    for (const [key, { scope, id, samples }] of this.#collect(namespace, scopes)) {
      let kept = this.#kept.get(key);
      if (kept === undefined) {
        const history = new SampledHistory(this.#options, namespace, { scope, id }, this.#options.stepMs);
        kept = { history, usedMs: nowMs };
        this.#kept.set(key, kept);
      }
      kept.usedMs = nowMs;
      kept.history.sample(nowMs, this.#generation, samples);
    }
  }

  #collect(namespace: string, scopes: readonly MetricScope[]) {
    const { figures } = this.#options;
    const found = new Map<string, { scope: MetricScope; id: string; samples: Sample[] }>();
    for (const scope of scopes) {
      for (const { name, scopes: known } of METRICS) {
        if (!known.includes(scope)) continue;
        const isSystem = scope === REPLICA || scope === SERVICE;
        const readings = isSystem ? figures.ownSystem(name, scope) : figures.each(namespace, name, scope);
        for (const { metric, id, resource, value } of readings) {
          if (value === undefined) continue;
          const key = `${namespace} ${scope} ${id}`;
          let one = found.get(key);
          if (one === undefined) {
            if (found.size >= MAX_SUBJECTS) continue;
            one = { scope, id, samples: [] };
            found.set(key, one);
          }
          if (one.samples.length < MAX_FIGURES) one.samples.push({ metric, resource, value });
        }
      }
    }
    return found;
  }

  *#agents(nowMs: number): Generator<void, void> {
    const { agentsHistory, agents, resourcesOf } = this.#options;
    if (agentsHistory === undefined) return;
    const withResources = Math.abs(nowMs - this.#lastResources) >= RESOURCES_EVERY_MS;
    if (withResources) this.#lastResources = nowMs;
    for (const agent of agents()) {
      const { session, share } = agent;
      const samples = withResources ? first(resourcesOf(agent), MAX_RESOURCES * 3) : undefined;
      agentsHistory.sample(session, share.health, share.load, samples);
      yield;
    }
  }
}

function* first<T>(values: Iterable<T>, limit: number): IterableIterator<T> {
  let left = limit;
  for (const value of values) {
    if (left <= 0) return;
    left -= 1;
    yield value;
  }
}
