import type { Agent } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { type AgentFilterOptions, agentFilter } from './agent-filter.ts';
import { refusal } from './ask.ts';
import type { Context } from './context.ts';
import { UsageError } from './errors.ts';
import { livenessSpan, phaseSpan } from './output/agent-cells.ts';
import { indent, narrower } from './output/agent-detail.ts';
import { renderTable } from './output/table.ts';
import { dim, plain, strong } from './output/text.ts';
import { readAgents } from './read-agents.ts';

export interface TargetOptions extends AgentFilterOptions {
  yes?: boolean;
}

export type Targets =
  /** Ids that were named, or agents that were found and confirmed. */
  | { kind: 'agents'; ids: readonly string[]; found: boolean }
  /** Nobody, and the exit code to end with. */
  | { kind: 'nobody'; exitCode: number };

const mostShown = 20;

/** Whom a command concerns: the agents that are named, or those that match, after they were shown and confirmed. */
export async function chooseTargets(
  context: Context,
  named: readonly string[],
  options: TargetOptions,
  doing: string,
): Promise<Targets> {
  const filters = [options.capability, options.selector, options.phase, options.liveness, options.kind];
  const filtered = filters.some((filter) => filter !== undefined);
  if (named.length > 0 && filtered) throw new UsageError(`name agents, or choose them by filters: not both`);
  if (named.length > 0) return { kind: 'agents', ids: [...new Set(named)], found: false };
  if (!filtered) throw new UsageError(`which agents? Name them, or choose them: -l tier=web`);
  const { response } = await readAgents(context, agentFilter(options));
  const { agents } = response;
  if (agents.length === 0) {
    context.note([dim('no agents match')]);
    return { kind: 'nobody', exitCode: 0 };
  }
  show(context, agents);
  const whom = agents.length === 1 ? 'this agent' : `these ${agents.length} agents`;
  const refused = await refusal(context, options.yes, doing, () => `${doing} ${whom}`);
  if (refused !== undefined) return { kind: 'nobody', exitCode: refused };
  return { kind: 'agents', ids: agents.map(({ id }) => id), found: true };
}

function show(context: Context, agents: readonly Agent[]): void {
  context.note([plain(agents.length === 1 ? '1 agent matches:' : `${agents.length} agents match:`)]);
  const style = narrower(context.noticeStyle);
  const rows = agents
    .slice(0, mostShown)
    .map(({ id, spec, phase, liveness }) => [
      strong(id),
      plain(spec?.kind ?? ''),
      phaseSpan(phase),
      livenessSpan(liveness),
    ]);
  const columns = [{ title: 'ID' }, { title: 'KIND' }, { title: 'PHASE' }, { title: 'LIVENESS' }];
  context.io.stderr.write(`${indent(renderTable(columns, rows, style)).join('\n')}\n`);
  if (agents.length > mostShown) context.note([dim(`  … and ${agents.length - mostShown} more`)]);
}
