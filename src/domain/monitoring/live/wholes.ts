import { create } from '@bufbuild/protobuf';
import {
  type GetTopologyResponse,
  GetTopologyResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import {
  GetUsageRequestSchema,
  type GetUsageResponse,
  GetUsageResponseSchema,
  QuotaSchema,
  type ResourceUsage,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { encode } from '../../../lib/encode.ts';
import type { Topology, TopologyScope } from '../topology/topology.ts';
import type { Whole } from './whole-part.ts';

export interface UsageSource {
  get(request: ReturnType<typeof usageRequest>): Promise<GetUsageResponse>;
}

const MAX_AGENTS = 1000;

const usageRequest = (namespace: string) =>
  create(GetUsageRequestSchema, { namespace, withAgents: true, pageSize: MAX_AGENTS });

/** Usage with the first 1,000 agents. */
export async function wholeUsage(usage: UsageSource, namespace: string): Promise<Whole> {
  const value = await usage.get(usageRequest(namespace));
  const bytes = encode(GetUsageResponseSchema, value);
  return { value, bytes, print: usagePrint(value) };
}

export async function wholeTopology(topology: Pick<Topology, 'get'>, scope: TopologyScope): Promise<Whole> {
  const value = await topology.get(scope);
  const bytes = encode(GetTopologyResponseSchema, value);
  return { value, bytes, print: printWithoutRevision(value) };
}

/** All but how old the readings are, and the revision, which other changes move too. */
function usagePrint({ total, zones, agents, quotas, waiting }: GetUsageResponse): string {
  const parts: unknown[] = [total.map(usageParts)];
  for (const zone of zones) parts.push(zone.zone, zone.agents, zone.resources.map(usageParts));
  for (const { agentId, tasks, allocations, available, detail, resources } of agents)
    parts.push(agentId, tasks, allocations, available, detail, resources.map(usageParts));
  for (const quota of quotas) parts.push(Buffer.from(encode(QuotaSchema, quota)).toString('latin1'));
  for (const { reason, tasks } of waiting) parts.push(reason, tasks);
  return JSON.stringify(parts);
}

const usageParts = ({ resource, capacity, reservable, reserved, used, excess }: ResourceUsage): string =>
  `${resource} ${capacity} ${reservable} ${reserved} ${used} ${excess}`;

function printWithoutRevision(value: GetTopologyResponse): string {
  const { revision } = value;
  value.revision = 0n;
  const print = Buffer.from(encode(GetTopologyResponseSchema, value)).toString('latin1');
  value.revision = revision;
  return print;
}
