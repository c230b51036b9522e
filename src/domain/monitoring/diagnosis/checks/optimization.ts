import { Finding_Severity } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { RebalancePlan } from '../../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { TaskView } from '../../../coordination/tasks/task-view.ts';
import type { Check, Found } from '../check.ts';
import { count } from '../words.ts';

export interface OptimizationOptions {
  /** What moves would help, without keeping the plan; undefined: nothing is known of the namespace. */
  plan(namespace: string): Promise<RebalancePlan> | undefined;
  tasks: Pick<TaskView, 'open'>;
}

/** Namespaces that are planned for in one look: each plan takes a copy of the pool. */
const MAX_PLANS = 16;

/** Whether moves would help. */
export function reviewOptimization({ plan, tasks }: OptimizationOptions): Check {
  return {
    id: 'resource_management.review_optimization',
    step: 4,
    async run({ namespaces, signal }) {
      const found: Found[] = [];
      const busy = namespaces.filter((namespace) => tasks.open(namespace) > 0);
      for (const namespace of busy.slice(0, MAX_PLANS)) {
        signal.throwIfAborted();
        const made = await plan(namespace);
        if (made === undefined || made.moves.length === 0) continue;
        found.push({
          code: 'moves_would_help',
          severity: Finding_Severity.INFO,
          summary: `${count(made.moves.length, 'move')} of tasks would help: ${made.summary}`,
          evidence: made.moves.map(
            ({ taskId, fromAgentId, toAgentId }) => `${taskId} from ${fromAgentId} to ${toAgentId}`,
          ),
          advice: 'orchestrator resources rebalance plan, then orchestrator resources rebalance apply.',
          namespace,
          subjects: made.moves.map(({ taskId }) => taskId),
        });
      }
      return { found, well: `No moves would help in ${count(busy.length, 'namespace')} with tasks.` };
    },
  };
}
