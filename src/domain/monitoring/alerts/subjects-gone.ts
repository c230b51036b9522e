import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { AgentRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { zoneOf } from '../../agent/care/troubles.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { agentOf } from '../../agent/record.ts';
import { SYSTEM_NAMESPACE } from '../../namespaces.ts';
import { SLOTS } from '../../resource/amounts.ts';
import { shouldWork } from '../figures/standing.ts';
import type { Reading } from '../ports.ts';

/** What a figure is of. */
export type Subject = Pick<Reading, 'scope' | 'id' | 'resource'>;

export interface SubjectsGoneOptions {
  directory: Pick<AgentDirectory, 'get' | 'all' | 'count'>;
  /** Ids of all replicas, those included that were heard lately. */
  replicas(): Iterable<string>;
  /** Names of system services and sinks. */
  services: ReadonlySet<string>;
}

/**
 * Whether no figure of it will come any more, by what is stored: agents that are only away still count, those that left, were
 * stopped or never came do not.
 */
export function isGone(
  { directory, replicas, services }: SubjectsGoneOptions,
  namespace: string,
  { scope, id, resource }: Subject,
): boolean {
  switch (scope) {
    case MetricScope.AGENT: {
      const known = directory.get(namespace, id);
      return known === undefined || !counts(known.record, resource);
    }
    case MetricScope.ZONE: {
      for (const { record } of directory.all(namespace))
        if (zoneOf(record) === id && counts(record, resource)) return false;
      return true;
    }
    case MetricScope.REPLICA:
      return ![...replicas()].includes(id);
    case MetricScope.SERVICE:
      return !services.has(id);
    default: {
      if (namespace === SYSTEM_NAMESPACE) return false;
      if (resource === '') return directory.count(namespace) === 0;
      for (const { record } of directory.all(namespace)) if (counts(record, resource)) return false;
      return true;
    }
  }
}

/** It should work, and has the resource, if one is named. */
function counts(record: AgentRecord, resource: string): boolean {
  const { liveness, phase, spec } = agentOf(record);
  if (!shouldWork(liveness, phase)) return false;
  if (resource === '') return true;
  const capacity = spec?.capacity ?? {};
  // Slots are given by default.
  return Object.hasOwn(capacity, resource) ? Number(capacity[resource]) > 0 : resource === SLOTS;
}
