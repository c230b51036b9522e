import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { Session } from '../../agent/session.ts';
import type { FiguresReader } from '../ports.ts';

/** A value of a metric at which something happens. */
export interface Threshold {
  metric: string;
  scope: MetricScope;
  value: number;
}

/** Agents that crossed something and are not told of yet, at most; the rest is told in its turn. */
const MAX_SESSIONS = 1000;

/** Sees when a figure goes past the threshold of a rule, so that the replica that judges it hears of that at once. */
export class Crossings {
  /** Of single agents, by metric. */
  readonly #ofAgents = new Map<string, number[]>();
  #ofMany: readonly Threshold[] = [];
  readonly #sessions = new Set<Session>();
  readonly #listeners: ((namespace: string, agentId: string) => void)[] = [];
  /** On which sides the figures of a namespace were. */
  readonly #sides = new Map<string, string>();

  set(list: readonly Threshold[]): void {
    this.#ofAgents.clear();
    for (const { metric, scope, value } of list) {
      if (scope !== MetricScope.AGENT) continue;
      this.#ofAgents.set(metric, [...(this.#ofAgents.get(metric) ?? []), value]);
    }
    this.#ofMany = list.filter(({ scope }) => scope === MetricScope.FLEET || scope === MetricScope.ZONE);
    this.#sides.clear();
  }

  /** A figure of an agent went from one value to another; undefined: it was or is not known. */
  agentMoved(session: Session, metric: string, before: number | undefined, after: number | undefined): void {
    if (before === after || this.#sessions.size >= MAX_SESSIONS) return;
    for (const value of this.#ofAgents.get(metric) ?? []) {
      if (side(before, value) === side(after, value)) continue;
      this.#sessions.add(session);
      this.heard(session.namespace, session.agentId);
      return;
    }
  }

  /** Another replica told of an agent: it may have crossed something. */
  heard(namespace: string, agentId: string): void {
    for (const listener of this.#listeners) listener(namespace, agentId);
  }

  /** Told of each agent that crossed something, or may have. */
  listen(listener: (namespace: string, agentId: string) => void): void {
    this.#listeners.push(listener);
  }

  /** Whether rules watch single agents. */
  get watchesAgents(): boolean {
    return this.#ofAgents.size > 0;
  }

  takeSessions(): Session[] {
    const taken = [...this.#sessions];
    this.#sessions.clear();
    return taken;
  }

  /** Nobody else is there to be told. */
  forget(): void {
    this.#sessions.clear();
    this.#sides.clear();
  }

  /** Those of which a figure is on another side than when this was asked last. */
  namespaces(moved: readonly string[], figures: FiguresReader): Set<string> {
    const crossed = new Set<string>();
    if (this.#ofMany.length === 0) return crossed;
    for (const namespace of moved) {
      let sides = '';
      for (const { metric, scope, value } of this.#ofMany) {
        for (const reading of figures.each(namespace, metric, scope)) {
          sides += `${reading.id}:${side(reading.value, value)};`;
        }
      }
      const before = this.#sides.get(namespace);
      this.#sides.set(namespace, sides);
      if (before !== undefined && before !== sides) crossed.add(namespace);
    }
    return crossed;
  }
}

function side(value: number | undefined, threshold: number): string {
  if (value === undefined) return '?';
  return value > threshold ? '+' : value < threshold ? '-' : '=';
}
