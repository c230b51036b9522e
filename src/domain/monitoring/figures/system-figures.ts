import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Reading } from '../ports.ts';
import type { MeasuredReplica } from '../replicas.ts';

/** An event-loop delay (p99) that counts as full load: verdicts are doubtful from there on. */
const FULL_DELAY_MS = 500;
const KEEP_MS = 500;

export interface SystemFiguresOptions {
  clock: Clock;
  /** All replicas that are there, this one first. */
  replicas(): readonly MeasuredReplica[];
}

interface KnownService {
  up: boolean | undefined;
  latencyMs: number | undefined;
  atMs: number;
  own: boolean;
}

/** Figures of replicas and of system services. */
export class SystemFigures {
  readonly #options: SystemFiguresOptions;
  readonly #services = new Map<string, KnownService>();
  #kept: { replicas: readonly MeasuredReplica[]; untilMs: number } | undefined;

  constructor(options: SystemFiguresOptions) {
    this.#options = options;
  }

  service(name: string, up: boolean | undefined, latencyMs: number | undefined, own: boolean): void {
    this.#services.set(name, { up, latencyMs, atMs: this.#options.clock.monoMs(), own });
  }

  *each(metric: string, scope: MetricScope): IterableIterator<Reading> {
    if (scope === MetricScope.REPLICA) yield* this.#replicas(metric);
    else if (scope === MetricScope.SERVICE) yield* this.#ofServices(metric, false);
  }

  /** What this replica measured itself: its own figures, and services that it asked. */
  *own(metric: string, scope: MetricScope): IterableIterator<Reading> {
    if (scope === MetricScope.SERVICE) yield* this.#ofServices(metric, true);
    else for (const reading of this.#replicas(metric)) return void (yield reading);
  }

  /** Measuring takes a while, and rules ask for one figure after another. */
  #measured(): readonly MeasuredReplica[] {
    const nowMs = this.#options.clock.monoMs();
    if (this.#kept === undefined || nowMs >= this.#kept.untilMs) {
      this.#kept = { replicas: this.#options.replicas(), untilMs: nowMs + KEEP_MS };
    }
    return this.#kept.replicas;
  }

  *#replicas(metric: string): IterableIterator<Reading> {
    for (const replica of this.#measured()) {
      const value = replicaFigure(replica, metric);
      yield {
        ...{ metric, scope: MetricScope.REPLICA, id: replica.id, resource: '', value },
        ...{ ageMs: replica.ageMs, samples: value === undefined ? 0 : 1 },
      };
    }
  }

  *#ofServices(metric: string, ownOnly: boolean): IterableIterator<Reading> {
    const nowMs = this.#options.clock.monoMs();
    for (const [id, { up, latencyMs, atMs, own }] of this.#services) {
      if (ownOnly && !own) continue;
      const known = up === undefined ? undefined : metric === 'service_up' ? Number(up) : latencyMs;
      yield {
        ...{ metric, scope: MetricScope.SERVICE, id, resource: '', value: known },
        ...{ ageMs: nowMs - atMs, samples: known === undefined ? 0 : 1 },
      };
    }
  }
}

function replicaFigure(replica: MeasuredReplica, metric: string): number | undefined {
  switch (metric) {
    case 'system_load':
      return Math.min(1, Math.max(replica.cpuCores, replica.eventLoopDelayP99Ms / FULL_DELAY_MS));
    case 'heartbeats_rate':
      return replica.heartbeatsRate;
    case 'sessions':
      return replica.sessions;
    case 'event_loop_delay':
      return replica.eventLoopDelayP99Ms;
    case 'cpu':
      return replica.cpuCores;
    case 'memory':
      return replica.memoryBytes;
    case 'store_commit':
      return replica.commitP99Ms;
    default:
      return undefined;
  }
}
