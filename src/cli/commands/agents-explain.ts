import { ExplainAgentResponseSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type { Context } from '../context.ts';
import { renderExplanation } from '../output/explanation.ts';
import { staleness } from '../staleness.ts';

export async function explainAgent(context: Context, agentId: string): Promise<void> {
  const { connection, namespace, call } = context;
  const [response, staleMs] = await Promise.all([
    connection.agents.explainAgent({ namespace, agentId }, call),
    staleness(context),
  ]);
  if (context.format === 'json') return context.json(ExplainAgentResponseSchema, response, 'document');
  context.print(renderExplanation(response, { staleMs, style: context.style, ownMs: Date.now() }));
}
