import { Task_State } from '../../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { Finding_Severity } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import {
  type Pending,
  PendingReason,
} from '../../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type { Quota } from '../../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { msFromTimestamp } from '../../../../lib/proto-time.ts';
import { createMsOf, taskOf } from '../../../coordination/tasks/task-record.ts';
import type { TaskView } from '../../../coordination/tasks/task-view.ts';
import type { Ledger } from '../../../resource/ledger.ts';
import type { Check, Found, Scope } from '../check.ts';
import { count, few, time } from '../words.ts';

export interface ConstraintsOptions {
  tasks: Pick<TaskView, 'all'>;
  /** Undefined: nothing is known of the namespace. */
  ledger(namespace: string): Pick<Ledger, 'accounts'> | undefined;
  storeMs(): number;
}

/** What nobody can ever have is found at once, but agents may be about to come. */
const NEVER_MS = 30_000;
const LONG_MS = 600_000;

const NEVER: ReadonlySet<PendingReason> = new Set([
  PendingReason.NO_CAPABILITY,
  PendingReason.CONSTRAINTS,
  PendingReason.TOO_LARGE,
]);

/** Whether what waits can ever be placed, and who has come to the end of a quota or budget. */
export function monitorConstraints(options: ConstraintsOptions): Check {
  return {
    id: 'resource_management.monitor_constraints',
    step: 4,
    async run(scope) {
      const found: Found[] = [];
      let waiting = 0;
      for (const namespace of scope.namespaces) {
        const lines = await waits(options, namespace, scope);
        waiting += lines.waiting;
        found.push(...neverFound(lines.never, namespace), ...longFound(lines.long, namespace));
        const accounts = options.ledger(namespace)?.accounts;
        for (const owner of accounts?.owners() ?? []) {
          const quota = accounts?.quota(owner, options.storeMs());
          if (quota !== undefined) found.push(...spent(quota, owner, namespace));
        }
      }
      return {
        found,
        well: `${count(waiting, 'task')} wait, each for something that can come; no quota is used up.`,
      };
    },
  };
}

interface Waiting {
  id: string;
  words: string;
}

async function waits({ tasks, storeMs }: ConstraintsOptions, namespace: string, scope: Scope) {
  const never: Waiting[] = [];
  const long: Waiting[] = [];
  let waiting = 0;
  for (const { id, record } of tasks.all(namespace)) {
    await scope.breathe();
    const { state, pending } = taskOf(record);
    if (state !== Task_State.PENDING) continue;
    waiting += 1;
    const ageMs = storeMs() - createMsOf(record);
    const words = `${id}: has waited for ${time(ageMs)}${why(pending)}`;
    if (pending !== undefined && NEVER.has(pending.reason) && ageMs > NEVER_MS) never.push({ id, words });
    else if (ageMs > LONG_MS && !isPlanned(pending, storeMs())) long.push({ id, words });
  }
  return { waiting, never, long };
}

const why = (pending: Pending | undefined): string =>
  pending === undefined || pending.detail === '' ? '' : `: ${pending.detail}`;

/** It is not to begin yet. */
const isPlanned = (pending: Pending | undefined, storeMs: number): boolean =>
  pending?.notBeforeTime !== undefined && msFromTimestamp(pending.notBeforeTime) > storeMs;

function neverFound(never: readonly Waiting[], namespace: string): Found[] {
  if (never.length === 0) return [];
  return [
    {
      code: 'tasks_unplaceable',
      severity: Finding_Severity.WARNING,
      summary: `${count(never.length, 'task')} can never be placed as things are: ${few(never.map(({ id }) => id))}.`,
      evidence: never.map(({ words }) => words),
      advice: `orchestrator tasks explain ${never[0]?.id ?? ''} says which agents each condition excludes.`,
      namespace,
      subjects: never.map(({ id }) => id),
    },
  ];
}

function longFound(long: readonly Waiting[], namespace: string): Found[] {
  if (long.length === 0) return [];
  return [
    {
      code: 'tasks_wait_long',
      severity: Finding_Severity.WARNING,
      summary: `${count(long.length, 'task')} ${long.length === 1 ? 'has' : 'have'} waited for more than ${time(LONG_MS)}: ${few(long.map(({ id }) => id))}.`,
      evidence: long.map(({ words }) => words),
      advice:
        'orchestrator tasks list shows for what each waits; orchestrator resources usage what there is.',
      namespace,
      subjects: long.map(({ id }) => id),
    },
  ];
}

function spent({ budgets, hard, reserved }: Quota, owner: string, namespace: string): Found[] {
  const whose = owner === '' ? 'the namespace' : `owner ${owner}`;
  const over = budgets.filter((budget) => budget.spent + budget.reserved >= budget.limit);
  const full = Object.entries(hard).filter(([name, most]) => (reserved[name] ?? 0n) >= most);
  if (over.length === 0 && full.length === 0) return [];
  const gone = over.some((budget) => budget.spent >= budget.limit);
  const names = [...over.map(({ name }) => name), ...full.map(([name]) => name)];
  return [
    {
      code: gone ? 'budget_spent' : 'quota_used_up',
      severity: gone ? Finding_Severity.WARNING : Finding_Severity.INFO,
      summary: `${gone ? 'A budget' : 'A quota'} of ${whose} is used up: ${few(names)}.`,
      evidence: [
        ...over.map(
          (budget) =>
            `${budget.name}: ${budget.spent} spent and ${budget.reserved} reserved of ${budget.limit}`,
        ),
        ...full.map(([name, most]) => `${name}: ${reserved[name]} of ${most} reserved`),
      ],
      advice: 'What needs more of it waits. Raise it: orchestrator resources quotas set.',
      namespace,
      subjects: names,
    },
  ];
}
