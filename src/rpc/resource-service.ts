import {
  type ApplyRebalanceRequest,
  type ApplyRebalanceResponse,
  type ExplainPlacementRequest,
  type ExplainPlacementResponse,
  type GetUsageRequest,
  type GetUsageResponse,
  type PlanRebalanceRequest,
  type PlanRebalanceResponse,
  ResourceService,
} from '../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { Caller } from '../domain/agent/caller.ts';
import type { Allocations } from '../domain/resource/allocations/allocations.ts';
import type { CreateAllocation } from '../domain/resource/allocations/create-allocation.ts';
import type { Quotas } from '../domain/resource/quotas/quotas.ts';
import type { Views } from '../state/views.ts';
import { callerOf } from './caller.ts';
import { revisionWait } from './revision-wait.ts';
import { bindService, type ServiceBinding } from './service.ts';

export interface ResourceServiceOptions {
  views: Views;
  create: CreateAllocation;
  allocations: Allocations;
  quotas: Quotas;
  usage: { get(request: GetUsageRequest): Promise<GetUsageResponse> };
  explain: { explain(request: ExplainPlacementRequest): Promise<ExplainPlacementResponse> };
  rebalancing: {
    plan(request: PlanRebalanceRequest): Promise<PlanRebalanceResponse>;
    apply(request: ApplyRebalanceRequest, caller: Caller): Promise<ApplyRebalanceResponse>;
  };
}

export function createResourceService(options: ResourceServiceOptions): ServiceBinding {
  const { create, allocations, quotas, usage, explain, rebalancing } = options;
  const seen = revisionWait(options.views);
  return bindService(ResourceService, {
    createAllocation: (request, context) =>
      create.create(request, callerOf(context), {
        signal: context.signal,
        timeLeftMs: context.timeLeftMs(),
      }),
    renewAllocation: (request) => allocations.renew(request),
    releaseAllocation: (request, context) => allocations.release(request, callerOf(context)),
    getAllocation: async (request, context) => {
      await seen(request, context);
      return allocations.get(request);
    },
    listAllocations: async (request, context) => {
      await seen(request, context);
      return allocations.list(request);
    },
    getUsage: async (request, context) => {
      await seen(request, context);
      return usage.get(request);
    },
    explainPlacement: (request) => explain.explain(request),
    updateQuota: (request, context) => quotas.update(request, callerOf(context)),
    getQuota: async (request, context) => {
      await seen(request, context);
      return quotas.get(request);
    },
    listQuotas: async (request, context) => {
      await seen(request, context);
      return quotas.list(request);
    },
    deleteQuota: (request, context) => quotas.delete(request, callerOf(context)),
    planRebalance: (request) => rebalancing.plan(request),
    applyRebalance: (request, context) => rebalancing.apply(request, callerOf(context)),
  });
}
