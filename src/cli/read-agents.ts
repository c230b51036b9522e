import { create } from '@bufbuild/protobuf';
import {
  type AgentFilter,
  type ListAgentsResponse,
  ListAgentsResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type { Context } from './context.ts';

const pageSize = 500;

/** All pages as one response, and when each agent's page came (monotonic milliseconds). */
export async function readAgents(
  { connection, namespace, call }: Context,
  filter: AgentFilter,
  limit = Number.POSITIVE_INFINITY,
): Promise<{ response: ListAgentsResponse; readAtMs: ReadonlyMap<string, number> }> {
  const all = create(ListAgentsResponseSchema);
  const readAtMs = new Map<string, number>();
  do {
    const page = await connection.agents.listAgents(
      {
        namespace,
        filter,
        pageSize: Math.min(pageSize, limit - all.agents.length),
        pageToken: all.nextPageToken,
      },
      call,
    );
    for (const agent of page.agents) readAtMs.set(agent.id, performance.now());
    all.agents.push(...page.agents);
    all.nextPageToken = page.nextPageToken;
    all.revision = page.revision;
    all.totalSize = page.totalSize;
  } while (all.nextPageToken !== '' && all.agents.length < limit);
  return { response: all, readAtMs };
}
