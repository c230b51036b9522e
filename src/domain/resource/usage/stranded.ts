import type { Amounts } from '../amounts.ts';
import type { AgentPool } from '../pool/agent-pool.ts';
import type { Want } from '../pool/types.ts';

/** A task on an agent that is supposed to be drained. */
export interface Evicted {
  id: string;
  /** Under which it holds its place. */
  key: string;
  want: Want;
  priority: number;
}

/**
 * The tasks that would have no other place if their agents were drained. They are placed one after the other, the more important
 * first, on a copy of the pool: what one takes another does not get.
 */
export function strandedBy(
  pool: AgentPool,
  tasks: readonly Evicted[],
  whatIf: { drained: ReadonlySet<string>; capacities: ReadonlyMap<string, Amounts> },
): string[] {
  const trial = pool.copy();
  for (const [id, capacity] of whatIf.capacities) {
    const agent = trial.agent(id);
    if (agent !== undefined) trial.setAgent({ ...agent, capacity });
  }
  for (const id of whatIf.drained) {
    const agent = trial.agent(id);
    if (agent !== undefined) trial.setAgent({ ...agent, available: false, unavailableWhy: 'draining' });
  }
  for (const { key } of tasks) trial.free(key);
  const ordered = [...tasks].sort((a, b) => b.priority - a.priority || (a.id < b.id ? -1 : 1));
  return ordered
    .filter(({ key, want }) => {
      const wanted = trial.classOf(want);
      const choice = trial.choose(wanted);
      const { group } = wanted;
      trial.release(wanted);
      if (choice === undefined) return true;
      trial.hold(key, { agentId: choice.agentId, resources: want.resources, group, kind: 'task' });
      return false;
    })
    .map(({ id }) => id);
}
