import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { msFromDuration } from '../../../lib/proto-time.ts';
import type { AgentDirectory, KnownAgent } from '../../agent/directory.ts';
import type { Observations } from '../../agent/observations.ts';
import { amountOf, amountsOf } from '../../resource/amounts.ts';
import type { AgentPool } from '../../resource/pool/agent-pool.ts';
import type { Reading } from '../ports.ts';
import type { OwnAgent, OwnAgents } from './own-agents.ts';
import { standingOf } from './standing.ts';

export interface AgentFiguresOptions {
  own: OwnAgents;
  directory: AgentDirectory;
  observations: Pick<Observations, 'of'>;
  pool(namespace: string): AgentPool;
  clock: Clock;
}

/** What is known of one agent. */
interface Known {
  health: number | undefined;
  load: number | undefined;
  p95Ms: number | undefined;
  samples: number;
  usage: { readonly [resource: string]: bigint } | undefined;
  ageMs: number;
}

const RESOURCES = new Set(['resource_usage', 'resource_reserved', 'resource_used']);

/** Figures of single agents: of those attached here from their sessions, of the others from what their replicas wrote. */
export class AgentFigures {
  readonly #options: AgentFiguresOptions;

  constructor(options: AgentFiguresOptions) {
    this.#options = options;
  }

  *each(namespace: string, metric: string): IterableIterator<Reading> {
    for (const known of this.#options.directory.all(namespace)) yield* this.of(known, metric);
  }

  /** One reading, or one for each resource; none of an agent that need not be there. */
  *of(known: KnownAgent, metric: string): IterableIterator<Reading> {
    const { works, attached } = standingOf(known.record);
    if (!works) return;
    const agent = this.#known(known, attached);
    const name = { metric, scope: MetricScope.AGENT, id: known.id };
    if (RESOURCES.has(metric)) {
      for (const [resource, value] of this.#resources(known, agent, metric)) {
        yield { ...name, resource, value, ageMs: agent.ageMs, samples: 1 };
      }
      return;
    }
    const [value, samples] =
      metric === 'agent_health'
        ? [agent.health, 1]
        : metric === 'system_load'
          ? [agent.load, 1]
          : [agent.p95Ms, agent.samples];
    yield { ...name, resource: '', value, ageMs: agent.ageMs, samples: value === undefined ? 0 : samples };
  }

  #known(known: KnownAgent, attached: boolean): Known {
    const { own, observations, clock } = this.#options;
    const here = own.of(known.namespace)?.agents.get(known.id);
    if (here !== undefined) {
      const { session, share } = here;
      const { count } = session.roundTrips;
      return {
        health: share.health,
        load: share.load,
        p95Ms: count === 0 ? undefined : session.roundTrips.p95Ms(),
        samples: count,
        usage: session.report?.usage,
        ageMs: Math.max(0, clock.monoMs() - session.lastHeardMs),
      };
    }
    const nothing = { load: undefined, p95Ms: undefined, samples: 0, usage: undefined, ageMs: 0 };
    if (!attached) return { ...nothing, health: 0 };
    const there = observations.of(known);
    if (there?.health === undefined || there.health.connected === 0) return { ...nothing, health: undefined };
    const { report, roundTrip, age } = there;
    return {
      health: there.health.score,
      load: report?.load === undefined ? undefined : Math.min(1, report.load),
      p95Ms: roundTrip?.p95 === undefined ? undefined : msFromDuration(roundTrip.p95),
      samples: roundTrip?.samples ?? 0,
      usage: report?.usage,
      ageMs: age === undefined ? 0 : msFromDuration(age),
    };
  }

  /** All figures of resources of an agent that is attached here. */
  *resourcesOf({ session }: OwnAgent): IterableIterator<{ metric: string; resource: string; value: number }> {
    const figures = this.#options.pool(session.namespace).usageOf(session.agentId);
    const usage = session.report?.usage ?? {};
    for (const { resource, capacity, reserved } of figures?.resources ?? []) {
      if (capacity <= 0) continue;
      const used = Object.hasOwn(usage, resource) ? Math.max(0, Number(usage[resource])) : undefined;
      for (const metric of RESOURCES) {
        const value = shareOf(metric, reserved, used, capacity);
        if (value !== undefined) yield { metric, resource, value };
      }
    }
  }

  *#resources(known: KnownAgent, agent: Known, metric: string): IterableIterator<[string, number]> {
    const figures = this.#options.pool(known.namespace).usageOf(known.id);
    const used = amountsOf(agent.usage ?? {});
    for (const { resource, capacity, reserved } of figures?.resources ?? []) {
      if (capacity <= 0) continue;
      const value = shareOf(
        metric,
        reserved,
        Object.hasOwn(used, resource) ? amountOf(used, resource) : undefined,
        capacity,
      );
      if (value !== undefined) yield [resource, value];
    }
  }
}

/** The figure of a resource; undefined: nobody says what is used of it. */
export function shareOf(
  metric: string,
  reserved: number,
  used: number | undefined,
  capacity: number,
): number | undefined {
  if (metric === 'resource_reserved') return reserved / capacity;
  if (metric === 'resource_used') return used === undefined ? undefined : used / capacity;
  return Math.max(reserved, used ?? 0) / capacity;
}
