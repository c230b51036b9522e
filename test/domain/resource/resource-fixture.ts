import { create, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import {
  AllocationSpecSchema,
  CreateAllocationRequestSchema,
  DeleteQuotaRequestSchema,
  GetAllocationRequestSchema,
  GetQuotaRequestSchema,
  QuotaSchema,
  ReleaseAllocationRequestSchema,
  RenewAllocationRequestSchema,
  UpdateQuotaRequestSchema,
} from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { durationFromMs } from '../../../src/lib/proto-time.ts';
import { startFleet, type TestFleetOptions, turns } from '../agent/fleet-fixture.ts';

export const ANN = { principal: 'ann', token: undefined };
type Init<S extends DescMessage> = Exclude<MessageInitShape<S>, { $typeName: string }>;
export type Spec = Init<typeof AllocationSpecSchema>;
export type QuotaInit = Init<typeof QuotaSchema>;

export const MINUTE = durationFromMs(60_000);

/** A fleet with what asks for resources in it. */
export async function startResources(options: TestFleetOptions = {}) {
  const fleet = await startFleet(options);
  const { resources } = fleet;
  /** An attached agent with this capacity; its token. */
  const worker = async (id: string, capacity: Record<string, bigint> = { cpu: 10n }, labels = {}) => {
    const token = await fleet.register(id, { capacity, labels, capabilities: [{ name: 'work' }] });
    const attached = await fleet.attach(id, token, { answers: true });
    await fleet.settle();
    return { token, ...attached };
  };
  /** What the service does on its own in a little while. */
  const round = async (): Promise<void> => {
    fleet.tasks.scheduling.tick();
    await fleet.tend();
    await turns();
  };
  return {
    ...fleet,
    worker,
    round,
    ask: (
      spec: Spec = {},
      more: Init<typeof CreateAllocationRequestSchema> = {},
      signal = new AbortController().signal,
    ) => {
      const { resources: needs = { cpu: 1n }, lease = MINUTE, ...rest } = spec;
      const request = create(CreateAllocationRequestSchema, {
        spec: create(AllocationSpecSchema, { ...rest, resources: needs, lease }),
        ...more,
      });
      return resources.create.create(request, ANN, { signal, timeLeftMs: undefined });
    },
    release: (allocationId: string, more: Init<typeof ReleaseAllocationRequestSchema> = {}) =>
      resources.allocations.release(create(ReleaseAllocationRequestSchema, { ...more, allocationId }), ANN),
    renew: (allocationId: string, more: Init<typeof RenewAllocationRequestSchema> = {}) =>
      resources.allocations.renew(create(RenewAllocationRequestSchema, { ...more, allocationId })),
    allocation: async (allocationId: string) =>
      (await resources.allocations.get(create(GetAllocationRequestSchema, { allocationId }))).allocation,
    quota: (owner = 'ann') => resources.quotas.get(create(GetQuotaRequestSchema, { owner })).quota,
    setQuota: (quota: QuotaInit, more: Init<typeof UpdateQuotaRequestSchema> = {}) =>
      resources.quotas.update(
        create(UpdateQuotaRequestSchema, { ...more, quota: create(QuotaSchema, quota) }),
        ANN,
      ),
    deleteQuota: (owner: string, more: Init<typeof DeleteQuotaRequestSchema> = {}) =>
      resources.quotas.delete(create(DeleteQuotaRequestSchema, { ...more, owner }), ANN),
  };
}

export type TestResources = Awaited<ReturnType<typeof startResources>>;
