import { ListAgentsResponseSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { type AgentFilterOptions, agentFilter } from '../agent-filter.ts';
import type { Context } from '../context.ts';
import { agentCells, agentColumns, wideAgentColumns } from '../output/agent-cells.ts';
import { freshnessOf } from '../output/freshness.ts';
import { renderTable } from '../output/table.ts';
import { dim } from '../output/text.ts';
import { readAgents } from '../read-agents.ts';
import { staleness } from '../staleness.ts';

export interface ListOptions extends AgentFilterOptions {
  limit?: number;
}

export async function listAgents(context: Context, options: ListOptions): Promise<void> {
  const [{ response, readAtMs }, staleMs] = await Promise.all([
    readAgents(context, agentFilter(options), options.limit),
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
