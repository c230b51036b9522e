import { Task_State } from '../../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { Finding_Severity } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { msFromTimestamp } from '../../../../lib/proto-time.ts';
import type { AgentDirectory } from '../../../agent/directory.ts';
import type { Mailboxes } from '../../../coordination/mailboxes.ts';
import { attemptOfDelivery, isPresent, taskOf } from '../../../coordination/tasks/task-record.ts';
import type { TaskView } from '../../../coordination/tasks/task-view.ts';
import { allocationIdOf, allocationOf, isActive } from '../../../resource/allocations/allocation-record.ts';
import type { AllocationView } from '../../../resource/allocations/allocation-view.ts';
import type { Ledger } from '../../../resource/ledger.ts';
import type { Hold } from '../../../resource/pool/types.ts';
import type { Check, Found, Scope } from '../check.ts';
import { settled } from '../settled.ts';
import { count, few, time } from '../words.ts';

export interface AllocationOptions {
  directory: AgentDirectory;
  mailboxes: Pick<Mailboxes, 'get'>;
  tasks: Pick<TaskView, 'all' | 'get'>;
  allocations: Pick<AllocationView, 'active' | 'get'>;
  /** Undefined: nothing is known of the namespace. */
  ledger(namespace: string): Pick<Ledger, 'pool'> | undefined;
  storeMs(): number;
}

/** The upkeep ends leases within seconds. */
const OVERDUE_MS = 15_000;
/** An agent takes a task on, or declines it, within accept_within; then it is offered anew. */
const ASSIGNED_MS = 300_000;

/** Whether what is reserved is reserved for something, and what was given is with somebody. */
export function checkAllocation(options: AllocationOptions): Check {
  return {
    id: 'resource_management.check_allocation',
    step: 4,
    async run(scope) {
      const found: Found[] = [];
      let holds = 0;
      let given = 0;
      for (const namespace of scope.namespaces) {
        const orphans = await settled(
          async () => {
            const seen = await orphaned(options, namespace, scope);
            holds = seen.holds;
            return seen.orphans;
          },
          ({ key }) => key,
          scope,
        );
        const stuck = await settled(
          async () => {
            const seen = await stuckTasks(options, namespace, scope);
            given = seen.given;
            return seen.stuck;
          },
          ({ id }) => id,
          scope,
        );
        found.push(...orphansFound(orphans, namespace), ...pastLease(options, namespace));
        found.push(...stuckFound(stuck, namespace));
      }
      const well = `${count(holds, 'reservation')}, each for a task or an allocation that is there; ${count(given, 'task')} given to agents, none stuck.`;
      return { found, well };
    },
  };
}

interface Orphan {
  key: string;
  words: string;
}

/** What the ledger holds without a record that says so, or on an agent that is not there. */
async function orphaned(
  { directory, tasks, allocations, ledger }: AllocationOptions,
  namespace: string,
  scope: Scope,
): Promise<{ holds: number; orphans: Orphan[] }> {
  const orphans: Orphan[] = [];
  let holds = 0;
  for (const [key, hold] of ledger(namespace)?.pool.holds() ?? []) {
    await scope.breathe();
    holds += 1;
    const for_ =
      hold.kind === 'task' ? ofTask(tasks, namespace, key) : ofAllocation(allocations, namespace, key);
    if (for_ === undefined)
      orphans.push({ key, words: `${amounts(hold)} on ${hold.agentId} for ${key}, which is not there` });
    else if (directory.get(namespace, hold.agentId) === undefined)
      orphans.push({
        key,
        words: `${amounts(hold)} for ${for_} on ${hold.agentId}, which is not registered`,
      });
  }
  return { holds, orphans };
}

function ofTask(tasks: AllocationOptions['tasks'], namespace: string, key: string): string | undefined {
  const named = attemptOfDelivery(key);
  const known = named && tasks.get(namespace, named.taskId);
  const live = known?.record.live.some(({ number }) => number === named?.attempt);
  return live === true ? `task ${named?.taskId}` : undefined;
}

function ofAllocation(
  allocations: AllocationOptions['allocations'],
  namespace: string,
  key: string,
): string | undefined {
  const known = allocations.get(namespace, allocationIdOf(key));
  return known !== undefined && isActive(known.record) ? `allocation ${known.id}` : undefined;
}

const amounts = ({ resources }: Hold): string =>
  Object.entries(resources)
    .map(([name, amount]) => `${amount} ${name}`)
    .join(', ') || 'a place';

function orphansFound(orphans: readonly Orphan[], namespace: string): Found[] {
  if (orphans.length === 0) return [];
  return [
    {
      code: 'orphaned_reservations',
      severity: Finding_Severity.WARNING,
      summary: `${count(orphans.length, 'reservation')} ${orphans.length === 1 ? 'is' : 'are'} for nothing that is there: that room is lost.`,
      evidence: orphans.map(({ words }) => words),
      advice:
        'The ledger is made anew when another replica takes the lease schedule over: restart its holder.',
      namespace,
      subjects: orphans.map(({ key }) => key),
    },
  ];
}

function pastLease({ allocations, storeMs }: AllocationOptions, namespace: string): Found[] {
  const nowMs = storeMs();
  const late = allocations.active(namespace).flatMap(({ id, record }) => {
    const { expireTime, agentId } = allocationOf(record);
    const overMs = expireTime === undefined ? 0 : nowMs - msFromTimestamp(expireTime);
    return overMs < OVERDUE_MS
      ? []
      : [{ id, words: `${id} on ${agentId}: its lease ended ${time(overMs)} ago` }];
  });
  if (late.length === 0) return [];
  return [
    {
      code: 'allocation_past_lease',
      severity: Finding_Severity.WARNING,
      summary: `${count(late.length, 'allocation')} past the end of ${late.length === 1 ? 'its lease' : 'their leases'}: ${few(late.map(({ id }) => id))}.`,
      evidence: late.map(({ words }) => words),
      advice: 'Nobody does the upkeep of this namespace: see who holds its lease care.',
      namespace,
      subjects: late.map(({ id }) => id),
    },
  ];
}

interface Stuck {
  id: string;
  words: string;
}

/** Tasks that were given to an agent which does not get them, or does not say anything. */
async function stuckTasks(
  { tasks, mailboxes, storeMs }: AllocationOptions,
  namespace: string,
  scope: Scope,
): Promise<{ given: number; stuck: Stuck[] }> {
  const stuck: Stuck[] = [];
  let given = 0;
  for (const { id, record } of tasks.all(namespace)) {
    await scope.breathe();
    const task = taskOf(record);
    if (task.state !== Task_State.ASSIGNED && task.state !== Task_State.RUNNING) continue;
    given += 1;
    for (const live of record.live.filter(isPresent)) {
      const { agentId, deliveryId, number } = live;
      const since = task.attempts.find((attempt) => attempt.number === number)?.assignTime;
      const ageMs = since === undefined ? 0 : storeMs() - msFromTimestamp(since);
      if (mailboxes.get(namespace, agentId, deliveryId) === undefined) {
        stuck.push({
          id,
          words: `${id}: attempt ${number} is with ${agentId}, and its delivery is not in the mailbox`,
        });
      } else if (task.state === Task_State.ASSIGNED && ageMs > ASSIGNED_MS) {
        stuck.push({
          id,
          words: `${id}: attempt ${number} was given to ${agentId} ${time(ageMs)} ago, and not taken on`,
        });
      }
    }
  }
  return { given, stuck };
}

function stuckFound(stuck: readonly Stuck[], namespace: string): Found[] {
  if (stuck.length === 0) return [];
  return [
    {
      code: 'tasks_stuck',
      severity: Finding_Severity.WARNING,
      summary: `${count(stuck.length, 'task')} given to an agent and not taken on: ${few(stuck.map(({ id }) => id))}.`,
      evidence: stuck.map(({ words }) => words),
      advice: `orchestrator tasks explain ${stuck[0]?.id ?? ''}; to have it given to another: drain or restart its agent.`,
      namespace,
      subjects: stuck.map(({ id }) => id),
    },
  ];
}
