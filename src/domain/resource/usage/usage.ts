import { create } from '@bufbuild/protobuf';
import type { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  type AgentUsage,
  AgentUsageSchema,
  type GetUsageRequest,
  type GetUsageResponse,
  GetUsageResponseSchema,
  type ResourceUsage,
  ResourceUsageSchema,
  ZoneUsageSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { fingerprint } from '../../../lib/page-token.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { Views } from '../../../state/views.ts';
import { parseLabelSelector } from '../../agent/label-selector.ts';
import { afterOf, pageOf, pageSize } from '../../coordination/messages/pages.ts';
import { namespaceOf } from '../../namespaces.ts';
import { int64Of } from '../amounts.ts';
import type { AgentFigures, ResourceFigures } from '../pool/types.ts';
import { inSlices } from '../rebalance/in-slices.ts';
import type { LedgerOf, WaitingItem, WaitingLines } from './ports.ts';
import { waitingCounts } from './waiting-counts.ts';

export interface UsageOptions<I extends WaitingItem> {
  ledger: LedgerOf;
  /** Undefined: nothing waits in a namespace that is not known. */
  waiting(namespace: string): Pick<WaitingLines<I>, 'waiting' | 'why'> | undefined;
  /** Why what waits under a key does so, as its record says. */
  storedReason(namespace: string, key: string): PendingReason;
  views: Pick<Views, 'position'>;
  storeTime: StoreTime;
  clock: Clock;
}

/** Tells how much there is and how much of it is taken. */
export class Usage<I extends WaitingItem> {
  readonly #options: UsageOptions<I>;

  constructor(options: UsageOptions<I>) {
    this.#options = options;
  }

  /** @throws DomainError INVALID_FIELDS (page token) */
  async get(request: GetUsageRequest): Promise<GetUsageResponse> {
    const { ledger, waiting, storedReason, views, storeTime, clock } = this.#options;
    const namespace = namespaceOf(request);
    const { selector, withAgents } = request;
    const print = fingerprint([namespace, selector]);
    const after = afterOf('usage', request.pageToken, print);
    const { pool, accounts } = ledger(namespace);
    const usage = pool.usage(selector === '' ? {} : { selector: parseLabelSelector(selector) });
    const wallMs = clock.wallMs();
    const storeMs = storeTime.ms();
    const rest = withAgents ? usage.agents.filter(({ agentId }) => agentId > after) : [];
    const page = pageOf('usage', rest, pageSize(request.pageSize), print, ({ agentId }) => agentId);
    const lines = waiting(namespace);
    const response = create(GetUsageResponseSchema, {
      total: usage.total.map((one) => resourceUsage(one, wallMs)),
      zones: usage.zones.map(({ zone, resources, agents }) =>
        create(ZoneUsageSchema, {
          zone,
          agents,
          resources: resources.map((one) => resourceUsage(one, wallMs)),
        }),
      ),
      agents: page.items.map((each) => agentUsage(each, wallMs)),
      nextPageToken: page.nextPageToken,
      quotas: accounts.owners().flatMap((owner) => {
        const quota = accounts.quota(owner, storeMs);
        return quota === undefined ? [] : [Object.assign(quota, { namespace })];
      }),
      revision: views.position(namespace).revision,
    });
    if (lines === undefined) return response;
    const counting = waitingCounts(lines, storeMs, (key) => storedReason(namespace, key));
    response.waiting = await inSlices(counting, clock);
    return response;
  }
}

function agentUsage(figures: AgentFigures, wallMs: number): AgentUsage {
  const { agentId, zone, tasks, allocations, available, unavailableWhy } = figures;
  return create(AgentUsageSchema, {
    ...{ agentId, zone, tasks, allocations, available },
    detail: unavailableWhy,
    resources: figures.resources.map((one) => resourceUsage(one, wallMs)),
  });
}

function resourceUsage(figures: ResourceFigures, wallMs: number): ResourceUsage {
  const { resource, capacity, reservable, reserved, excess, used, usedAgents, usedOldestMs } = figures;
  return create(ResourceUsageSchema, {
    resource,
    capacity: int64Of(capacity),
    reservable: int64Of(reservable),
    reserved: int64Of(reserved),
    excess: int64Of(excess),
    ...(used === undefined ? {} : { used: int64Of(used) }),
    usedAgents,
    usedAgeSeconds: usedOldestMs === undefined ? 0 : Math.max(0, wallMs - usedOldestMs) / 1000,
  });
}
