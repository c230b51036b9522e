import { ListAgentsResponseSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { type AgentFilterOptions, agentFilter } from '../agent-filter.ts';
import type { Context } from '../context.ts';
import { agentTable } from '../output/agent-cells.ts';
import { freshnessOf } from '../output/freshness.ts';
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
  const agents = response.agents.map((agent) => {
    const sinceMs = nowMs - (readAtMs.get(agent.id) ?? nowMs);
    return { agent, freshness: freshnessOf(agent, staleMs, sinceMs) };
  });
  context.print(agentTable(agents, { wide, style: context.style, nowMs: Date.now() }));
  const missing = response.totalSize - response.agents.length;
  if (response.nextPageToken !== '' && missing > 0) {
    context.note([dim(`${missing} more of ${response.totalSize}: raise --limit`)]);
  }
}
