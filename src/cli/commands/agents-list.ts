import { create } from '@bufbuild/protobuf';
import {
  type ListAgentsResponse,
  ListAgentsResponseSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { type AgentFilterOptions, agentFilter } from '../agent-filter.ts';
import type { Context } from '../context.ts';
import { agentCells, agentColumns, wideAgentColumns } from '../output/agent-cells.ts';
import { freshnessOf } from '../output/freshness.ts';
import { renderTable } from '../output/table.ts';
import { dim } from '../output/text.ts';
import { staleness } from '../staleness.ts';

export interface ListOptions extends AgentFilterOptions {
  limit?: number;
}

const pageSize = 500;

export async function listAgents(context: Context, options: ListOptions): Promise<void> {
  const [{ response, readAtMs }, staleMs] = await Promise.all([
    readAll(context, options),
    staleness(context),
  ]);
  if (context.format === 'json') return context.json(ListAgentsResponseSchema, response, 'document');
  if (response.agents.length === 0) return context.note([dim('no agents match')]);
  const wide = context.format === 'wide';
  const nowMs = performance.now();
  const rows = response.agents.map((agent) => {
    const sinceMs = nowMs - (readAtMs.get(agent.id) ?? nowMs);
    return agentCells(agent, freshnessOf(agent, staleMs, sinceMs), wide);
  });
  context.print(renderTable(wide ? wideAgentColumns : agentColumns, rows, context.style));
  const missing = response.totalSize - response.agents.length;
  if (response.nextPageToken !== '' && missing > 0) {
    context.note([dim(`${missing} more of ${response.totalSize}: raise --limit`)]);
  }
}

/** All pages as one response, and when each agent's page came (monotonic milliseconds). */
async function readAll(
  { connection, namespace, call }: Context,
  options: ListOptions,
): Promise<{ response: ListAgentsResponse; readAtMs: ReadonlyMap<string, number> }> {
  const filter = agentFilter(options);
  const limit = options.limit ?? Number.POSITIVE_INFINITY;
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
