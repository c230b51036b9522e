import type {
  MetricReading,
  MetricScope,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';

/** Which figure. */
export interface FigureName {
  metric: string;
  scope: MetricScope;
  /** The zone, agent, replica or service; empty for the fleet. */
  id: string;
  /** Empty: it is of no resource. */
  resource: string;
}

/** A figure as it is now. */
export interface Reading extends FigureName {
  /** Undefined: nothing is known. */
  value: number | undefined;
  /** Of the oldest measurement in it. */
  ageMs: number;
  /** Measurements in it; agents, for the fleet and zones. */
  samples: number;
}

/** The figures of now, kept up to date as heartbeats and changes come. */
export interface FiguresReader {
  /** Every figure of a metric in a namespace: one for each id (and resource) that there is. */
  each(namespace: string, metric: string, scope: MetricScope): Iterable<Reading>;
  /** Those of one agent. */
  ofAgent(namespace: string, metric: string, agentId: string): Iterable<Reading>;
  /** Told at once when a figure of an agent went past the threshold of a rule, or may have. */
  listenAgents(listener: (namespace: string, agentId: string) => void): void;
  /** The four figures with thresholds; undefined: merged over all namespaces. */
  readings(namespace: string | undefined): MetricReading[];
  /** Told when figures of a namespace moved, at most every 100 ms each. */
  listen(listener: (namespace: string) => void): void;
  /** Namespaces that have figures; "_system" has those of replicas and services. */
  namespaces(): Iterable<string>;
}
