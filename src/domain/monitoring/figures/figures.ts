import { create } from '@bufbuild/protobuf';
import {
  type MetricReading,
  MetricReadingSchema,
  MetricScope,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { FleetStatus } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/logger.ts';
import { durationFromMs } from '../../../lib/proto-time.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { SYSTEM_NAMESPACE } from '../../namespaces.ts';
import type { FiguresReader, Reading } from '../ports.ts';
import { type AgentCounts, count, noWords } from './agent-counts.ts';
import { type AgentFigures, shareOf } from './agent-figures.ts';
import { isSystemScope, metricOf } from './catalogue.ts';
import type { Crossings } from './crossings.ts';
import { fleetStatusOf } from './fleet-status.ts';
import type { JudgedAgents } from './judged-agents.ts';
import type { MailCounts } from './mail-counts.ts';
import { Merged, type MergedNamespace, mergeNamespace } from './merged.ts';
import type { OwnAgents } from './own-agents.ts';
import type { Shards } from './shards.ts';
import type { SystemFigures } from './system-figures.ts';
import type { TaskCounts } from './task-counts.ts';

export interface FiguresOptions {
  own: OwnAgents;
  shards: Shards;
  counts: AgentCounts;
  judged: JudgedAgents;
  agents: AgentFigures;
  directory: Pick<AgentDirectory, 'get'>;
  crossings: Pick<Crossings, 'listen'>;
  mail: MailCounts;
  tasks: TaskCounts;
  system: SystemFigures;
  deliveries(namespace: string): number;
  clock: Clock;
  log: Logger;
}

const { FLEET, ZONE, AGENT } = MetricScope;
/** What is merged stands so long, if nothing is told to have moved. */
const KEEP_MS = 1000;
/** A sum that is off by more than this has been kept wrongly; below it is the rounding of fractions. */
const DRIFT = 1e-6;

/** The figures of now: what this replica measures, what the others tell, and what the store has. */
export class Figures implements FiguresReader {
  readonly #options: FiguresOptions;
  readonly #merged = new Map<string, { merged: MergedNamespace; untilMs: number }>();
  readonly #dirty = new Set<string>();
  readonly #listeners: ((namespace: string) => void)[] = [];

  constructor(options: FiguresOptions) {
    this.#options = options;
  }

  listen(listener: (namespace: string) => void): void {
    this.#listeners.push(listener);
  }

  /** A figure of the namespace moved. Cheap: what follows is done by `tell`. */
  moved(namespace: string): void {
    this.#dirty.add(namespace);
    this.#options.shards.changed(namespace);
    this.#merged.delete(namespace);
  }

  /** The same for what other replicas know as well as this one. */
  movedEverywhere(namespace: string): void {
    this.#dirty.add(namespace);
    this.#merged.delete(namespace);
  }

  /** Tells the listeners of what moved; call it ten times a second. Returns the namespaces. */
  tell(): readonly string[] {
    if (this.#dirty.size === 0) return [];
    const moved = [...this.#dirty];
    this.#dirty.clear();
    for (const namespace of moved) for (const listener of this.#listeners) listener(namespace);
    return moved;
  }

  *namespaces(): Iterable<string> {
    const { counts, own, shards } = this.#options;
    yield* new Set([...counts.namespaces(), ...own.namespaces(), ...shards.namespaces(), SYSTEM_NAMESPACE]);
  }

  *each(namespace: string, metric: string, scope: MetricScope): Iterable<Reading> {
    const known = metricOf(metric);
    if (known === undefined || !known.scopes.includes(scope)) return;
    if (isSystemScope(scope)) {
      if (namespace === SYSTEM_NAMESPACE) yield* this.#options.system.each(metric, scope);
      return;
    }
    if (namespace === SYSTEM_NAMESPACE) return;
    if (scope === AGENT) yield* this.#options.agents.each(namespace, metric);
    else if (scope === FLEET) yield* this.#ofAll(namespace, metric, this.merged(namespace).fleet, undefined);
    else {
      for (const [zone, merged] of this.merged(namespace).zones) {
        yield* this.#ofAll(namespace, metric, merged, zone);
      }
    }
  }

  *ofAgent(namespace: string, metric: string, agentId: string): Iterable<Reading> {
    const known = this.#options.directory.get(namespace, agentId);
    if (known !== undefined && metricOf(metric)?.scopes.includes(AGENT) === true)
      yield* this.#options.agents.of(known, metric);
  }

  listenAgents(listener: (namespace: string, agentId: string) => void): void {
    this.#options.crossings.listen(listener);
  }

  /** A system service was asked; see SystemFigures. */
  service(name: string, up: boolean | undefined, latencyMs: number | undefined, own: boolean): void {
    this.#options.system.service(name, up, latencyMs, own);
  }

  /** What this replica measured itself of what belongs to the whole service; see SystemFigures. */
  ownSystem(metric: string, scope: MetricScope): Iterable<Reading> {
    return this.#options.system.own(metric, scope);
  }

  readings(namespace: string | undefined): MetricReading[] {
    const fleet = this.fleet(namespace);
    const rest = [
      this.#load(fleet, undefined),
      this.#health(fleet, undefined),
      this.#latency(fleet, undefined),
    ];
    const sums = namespace === undefined ? this.#allResources() : this.#resourcesOf(namespace, undefined);
    const usage = this.#resources('resource_usage', fleet, undefined, sums);
    return [...rest.slice(0, 2), ...usage, ...rest.slice(2)].map((reading) =>
      create(MetricReadingSchema, {
        ...{ metric: reading.metric, scope: reading.scope, id: reading.id, resource: reading.resource },
        ...(reading.value === undefined ? {} : { value: reading.value }),
        age: durationFromMs(reading.ageMs),
        samples: reading.samples,
      }),
    );
  }

  /** The agents counted, and what is measured of all of them. */
  fleetStatus(namespace: string | undefined): FleetStatus {
    const { counts, judged } = this.#options;
    judged.count();
    const words = noWords();
    for (const each of namespace === undefined ? this.namespaces() : [namespace]) {
      const stored = counts.words(each);
      for (const of of [stored.liveness, judged.of(each).liveness]) {
        for (const [liveness, by] of of) count(words.liveness, liveness, by);
      }
      for (const [phase, by] of stored.phases) count(words.phases, phase, by);
    }
    return fleetStatusOf(words, this.fleet(namespace), this.#options.clock.monoMs());
  }

  /** All agents of a namespace, or of all. */
  fleet(namespace: string | undefined): Merged {
    if (namespace !== undefined) return this.merged(namespace).fleet;
    const all = new Merged();
    for (const each of this.namespaces()) all.merge(this.merged(each).fleet);
    return all;
  }

  merged(namespace: string): MergedNamespace {
    const { clock, own, shards, counts, judged } = this.#options;
    const nowMs = clock.monoMs();
    const kept = this.#merged.get(namespace);
    if (kept !== undefined && nowMs < kept.untilMs) return kept.merged;
    const here = own.of(namespace);
    const parts = {
      shards: [...(here === undefined ? [] : [here.zones]), ...shards.of(namespace)],
      counts: counts.zones(namespace),
      judged: judged.of(namespace).zones,
    };
    const merged = mergeNamespace(parts);
    // Of a namespace without agents nothing is kept: anybody may name one that is not there.
    const isEmpty = parts.shards.length === 0 && parts.counts.size === 0 && parts.judged.size === 0;
    if (!isEmpty) this.#merged.set(namespace, { merged, untilMs: nowMs + KEEP_MS });
    return merged;
  }

  /** Reckons the whole anew; what was kept wrongly is put right and logged. Call it every `monitoring_interval`. */
  sweep(): void {
    const { own, clock, log } = this.#options;
    const drift = own.recount(clock.monoMs());
    if (drift > DRIFT) log.warn({ drift }, 'figures had drifted from what they are made of');
    this.#merged.clear();
    for (const namespace of this.namespaces()) this.moved(namespace);
  }

  *#ofAll(
    namespace: string,
    metric: string,
    merged: Merged,
    zone: string | undefined,
  ): IterableIterator<Reading> {
    if (metric === 'system_load') yield this.#load(merged, zone);
    else if (metric === 'agent_health') yield this.#health(merged, zone);
    else if (metric === 'communication_latency') yield this.#latency(merged, zone);
    else if (metricOf(metric)?.perResource === true) {
      yield* this.#resources(metric, merged, zone, this.#resourcesOf(namespace, zone));
    } else {
      const value = this.#count(namespace, metric, merged);
      yield { ...named(metric, zone), value, ageMs: 0, samples: value === undefined ? 0 : 1 };
    }
  }

  #count(namespace: string, metric: string, merged: Merged): number | undefined {
    const { tasks, mail, deliveries } = this.#options;
    switch (metric) {
      case 'agents_connected':
        return merged.connected;
      case 'agents_lost':
        return merged.lost;
      case 'agents_quarantined':
        return merged.quarantined;
      case 'tasks_waiting':
        return tasks.waiting(namespace);
      case 'tasks_running':
        return tasks.running(namespace);
      case 'task_wait':
        return tasks.longestWaitMs(namespace);
      case 'deliveries_pending':
        return deliveries(namespace);
      case 'dead_letters':
        return mail.deadLetters(namespace);
      case 'messages_rate':
        return mail.messagesRate(namespace);
      default:
        return undefined;
    }
  }

  #load({ sums }: Merged, zone: string | undefined): Reading {
    const value = sums.meanLoad();
    return {
      ...named('system_load', zone),
      value,
      ageMs: this.#age(sums.oldestMs),
      samples: sums.loadAgents,
    };
  }

  #health(merged: Merged, zone: string | undefined): Reading {
    const { sums, absent } = merged;
    const samples = sums.agents + absent;
    return {
      ...named('agent_health', zone),
      ...{ value: merged.health(), ageMs: this.#age(sums.oldestMs), samples },
    };
  }

  #latency({ sums }: Merged, zone: string | undefined): Reading {
    const value = sums.trips.quantile(0.95);
    const samples = sums.trips.total;
    return { ...named('communication_latency', zone), value, ageMs: this.#age(sums.oldestMs), samples };
  }

  *#resources(
    metric: string,
    { sums }: Merged,
    zone: string | undefined,
    capacities: ReadonlyMap<string, { capacity: number; reserved: number }>,
  ): IterableIterator<Reading> {
    for (const [resource, { capacity, reserved }] of capacities) {
      if (capacity <= 0) continue;
      const used = sums.used.get(resource);
      const value = shareOf(metric, reserved, used, capacity);
      if (value === undefined) continue;
      const ageMs = used === undefined ? 0 : this.#age(sums.oldestMs);
      yield { ...named(metric, zone), resource, value, ageMs, samples: sums.agents };
    }
  }

  #resourcesOf(namespace: string, zone: string | undefined) {
    const { total, zones } = this.#options.tasks.sums(namespace);
    return zone === undefined ? total : (zones.get(zone) ?? new Map<string, never>());
  }

  #allResources() {
    const all = new Map<string, { capacity: number; reserved: number }>();
    for (const namespace of this.namespaces()) {
      for (const [resource, { capacity, reserved }] of this.#resourcesOf(namespace, undefined)) {
        const sum = all.get(resource) ?? { capacity: 0, reserved: 0 };
        all.set(resource, { capacity: sum.capacity + capacity, reserved: sum.reserved + reserved });
      }
    }
    return all;
  }

  #age(oldestMs: number): number {
    return Number.isFinite(oldestMs) ? Math.max(0, this.#options.clock.monoMs() - oldestMs) : 0;
  }
}

function named(metric: string, zone: string | undefined): Omit<Reading, 'value' | 'ageMs' | 'samples'> {
  return { metric, scope: zone === undefined ? FLEET : ZONE, id: zone ?? '', resource: '' };
}
