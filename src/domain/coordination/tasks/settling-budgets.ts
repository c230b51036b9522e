import type { Part } from '../../../state/merged-commits.ts';
import { amountsOf } from '../../resource/amounts.ts';
import type { Ledger } from '../../resource/ledger.ts';
import { settlement } from '../../resource/quotas/spending.ts';
import { freeBudgets, holdsBudgets, missingBudget, spentByTree } from './budgets.ts';
import type { SchedulerPorts } from './scheduler-ports.ts';
import {
  copyTask,
  difference,
  encodeTask,
  hasEnded,
  type KnownTask,
  ownerOf,
  specOf,
  sum,
  taskKey,
  taskOf,
} from './task-record.ts';

type Ports = Pick<SchedulerPorts, 'tasks' | 'events'> & { namespace: string; ledger: Ledger };

/** Tasks that one commit settles. */
const MAX_SETTLED = 128;

export interface Settled {
  part: Part | undefined;
  ids: string[];
  /** There is nothing to settle about these. */
  none: string[];
  /** Something below these is to be settled before: their time comes with that. */
  early: string[];
}

/**
 * Has what ended tasks spent taken over: by their parents, or by the quotas. A task comes after all that are below it. The commit
 * must be fenced. Pure.
 */
export function settleTasks(ids: readonly string[], ports: Ports, nowMs: number): Settled {
  const { tasks, namespace, ledger, events } = ports;
  const settled: Settled = { part: undefined, ids: [], none: [], early: [] };
  const parents = new Map<string, ReturnType<typeof copyTask>>();
  const spent = new Map<string, Record<string, bigint>>();
  const checks: NonNullable<Part['checks']>[number][] = [];
  const puts: NonNullable<Part['puts']>[number][] = [];
  for (const id of ids) {
    if (settled.ids.length === MAX_SETTLED) break;
    const known = tasks.get(namespace, id);
    if (known === undefined || !hasEnded(known.record) || known.record.settled) {
      settled.none.push(id);
      continue;
    }
    if (!isReady(known, ports)) {
      settled.early.push(id);
      continue;
    }
    if (parents.has(id)) continue;
    const next = copyTask(known);
    next.settled = true;
    const { parentTaskId } = specOf(known.record);
    if (parentTaskId !== '') {
      const parent = tasks.get(namespace, parentTaskId);
      if (parent !== undefined && settled.ids.includes(parentTaskId)) continue;
      if (parent !== undefined) {
        const changed = parents.get(parentTaskId) ?? copyTask(parent);
        if (!parents.has(parentTaskId))
          checks.push({ key: taskKey(parentTaskId), revision: parent.revision });
        if (holdsBudgets(known.record))
          changed.childrenHeld = difference(changed.childrenHeld, taskOf(known.record).budgets);
        changed.childrenSpent = sum(changed.childrenSpent, spentByTree(known.record));
        parents.set(parentTaskId, changed);
      }
    } else if (holdsBudgets(known.record)) {
      const owner = ownerOf(known.record);
      spent.set(owner, sum(spent.get(owner) ?? {}, spentByTree(known.record)));
    }
    checks.push({ key: taskKey(id), revision: known.revision });
    puts.push({ key: taskKey(id), value: encodeTask(next) });
    settled.ids.push(id);
  }
  if (settled.ids.length === 0) return settled;
  for (const [id, record] of parents) puts.push({ key: taskKey(id), value: encodeTask(record) });
  const quotas = settlement(ledger.accounts, spent, nowMs);
  settled.part = {
    checks: [...checks, ...quotas.checks],
    puts: [...puts, ...quotas.puts],
    appends: quotas.events.map((event) => events.append(event)),
  };
  return settled;
}

/** Everything below it is settled, and it is known to be so here. */
function isReady({ id }: KnownTask, { tasks, namespace }: Ports): boolean {
  for (const childId of tasks.children(namespace, id)) {
    const child = tasks.get(namespace, childId);
    if (child !== undefined && (!hasEnded(child.record) || !child.record.settled)) return false;
  }
  return true;
}

/** Answers GrantTaskBudget, as far as is known here. The commit must be fenced. Undefined: nothing was asked. */
export function answerAsk(known: KnownTask, ports: Ports, nowMs: number): Part | undefined {
  const { tasks, namespace, ledger } = ports;
  const { record, id } = known;
  const asked = record.askedBudgets;
  if (Object.keys(asked).length === 0 || hasEnded(record)) return undefined;
  const next = copyTask(known);
  next.askedBudgets = {};
  next.askRefused = '';
  const part: Part = { checks: [{ key: taskKey(id), revision: known.revision }] };
  const puts: NonNullable<Part['puts']>[number][] = [];
  const checks = [...(part.checks ?? [])];
  const { parentTaskId } = specOf(record);
  // Before its first assignment nothing is reserved: that takes all of it.
  const isHeld = taskOf(record).attemptCount > 0;
  if (parentTaskId === '') {
    const hold = { owner: ownerOf(record), resources: {}, tasks: 0, budgets: amountsOf(asked) } as const;
    const unknown = Object.keys(asked).find((name) => !ledger.accounts.knowsBudget(hold.owner, name));
    const hit = isHeld ? ledger.accounts.admits(hold, nowMs) : undefined;
    if (unknown !== undefined) next.askRefused = `no quota has a budget ${unknown}`;
    else if (hit !== undefined) {
      next.askRefused = `${hit.needed} ${hit.resource} asked for, ${hit.used} of ${hit.limit} are taken`;
    }
    checks.push(...ledger.accounts.checks(hold.owner));
  } else if (isHeld) {
    const parent = tasks.get(namespace, parentTaskId);
    const missing = parent && missingBudget(freeBudgets(parent.record), asked);
    if (parent === undefined) next.askRefused = `its parent ${parentTaskId} is gone`;
    else if (missing !== undefined) {
      next.askRefused = `its parent has ${missing.free} ${missing.name} left, ${missing.wanted} asked for`;
    } else {
      const changed = copyTask(parent);
      changed.childrenHeld = sum(changed.childrenHeld, asked);
      checks.push({ key: taskKey(parentTaskId), revision: parent.revision });
      puts.push({ key: taskKey(parentTaskId), value: encodeTask(changed) });
    }
  }
  if (next.askRefused === '') {
    const task = taskOf(next);
    task.budgets = sum(task.budgets, asked);
    delete task.budgetAskedTime;
  }
  return { ...part, checks, puts: [...puts, { key: taskKey(id), value: encodeTask(next) }] };
}
