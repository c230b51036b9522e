import type { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { SinkConfig } from '../../../config/monitoring-config.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Ids } from '../../../lib/ids.ts';
import type { Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { Views } from '../../../state/views.ts';
import type { EventWriter } from '../events.ts';
import type { Reading } from '../ports.ts';
import type { AlertView } from './alert-view.ts';
import type { Rule } from './rule.ts';
import type { Subject } from './subjects-gone.ts';

/** What alerts are judged with. */
export interface EvaluatorPorts {
  store: Store;
  storeTime: Pick<StoreTime, 'ms'>;
  views: Pick<Views, 'waitFor' | 'position'>;
  view: AlertView;
  rules: ReadonlyMap<string, Rule>;
  sinks: readonly SinkConfig[];
  events: EventWriter;
  clock: Clock;
  ids: Pick<Ids, 'uuid'>;
  replicaId: string;
  retentionMs: number;
  /** Longest event-loop delay of the last ten seconds. */
  observerDelayMs(): number;
  /** The figures of the catalogue, and others that only rules know. */
  each(namespace: string, metric: string, scope: MetricScope): Iterable<Reading>;
  /** Those of one agent. */
  ofAgent(namespace: string, metric: string, agentId: string): Iterable<Reading>;
  agentLabels(namespace: string, agentId: string): { readonly [key: string]: string } | undefined;
  zoneOf(namespace: string, agentId: string): string;
  /** How many agents should be at work. */
  agents(namespace: string): number;
  /** Whether what a figure was of is known to be gone: then no data will come any more. */
  isGone(namespace: string, of: Subject): boolean;
}
