import { toBinary } from '@bufbuild/protobuf';
import { PayloadSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  Task_StateSchema,
  TaskAttempt_State,
  TaskAttempt_StateSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { Allocation_State } from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { AllocationRecord, TaskRecord } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { allocationOf, type Changed, hasEnded, ownSpent, taskOf } from './ledger-state.ts';
import { grown } from './tally.ts';

/** What may not become of one task: faults in words. */
export function taskFaults({ id, before, after }: Changed<TaskRecord>): string[] {
  if (after === undefined) {
    if (before === undefined) return [];
    return [
      ...(hasEnded(before) ? [] : [`task ${id} is gone before it has ended`]),
      ...(before.settled ? [] : [`task ${id} is gone before what it spent was taken over`]),
    ];
  }
  return [...aloneFaults(id, after), ...(before === undefined ? [] : changeFaults(id, before, after))];
}

function aloneFaults(id: string, record: TaskRecord): string[] {
  const { live } = record;
  const task = taskOf(record);
  const faults: string[] = [];
  const fault = (what: string) => faults.push(`task ${id} ${what}`);
  if (task.id !== id) fault(`calls itself ${task.id}`);
  if (hasEnded(record) && live.length > 0) fault(`has ended and has ${live.length} live attempts`);
  if (hasEnded(record) && task.endTime === undefined) fault('has ended at no time');
  if (live.length > 2) fault(`has ${live.length} live attempts`);
  const agents = new Set(live.map(({ agentId }) => agentId));
  if (agents.size < live.length) fault('has two live attempts on one agent');
  const last = live.at(-1)?.number;
  const replaces = task.attempts.some(({ number, replacement }) => number === last && replacement);
  if (live.length === 2 && !replaces) fault('has two live attempts, none of them a replacement');
  for (const { number, agentId, deliveryId } of live) {
    if (number > task.attemptCount) fault(`has attempt ${number} and counts ${task.attemptCount}`);
    const told = task.attempts.find((each) => each.number === number);
    if (told === undefined) fault(`has live attempt ${number}, which its attempts do not tell`);
    else if (told.agentId !== agentId || told.deliveryId !== deliveryId) {
      fault(`has attempt ${number} on ${agentId}, and tells of ${told.agentId}`);
    } else if (told.endTime !== undefined && told.state !== TaskAttempt_State.AGENT_LOST) {
      fault(`has live attempt ${number}, which is told as ended`);
    }
  }
  const spent = ownSpent(record);
  for (const [name, amount] of Object.entries(spent)) {
    const [held, below] = [record.childrenHeld[name] ?? 0n, record.childrenSpent[name] ?? 0n];
    const budget = task.budgets[name] ?? 0n;
    if (amount + held + below > budget) {
      fault(`has spent ${amount} ${name}, those below it hold ${held} and spent ${below}, of ${budget}`);
    }
  }
  for (const [name, held] of Object.entries(record.childrenHeld)) {
    const taken = (spent[name] ?? 0n) + held + (record.childrenSpent[name] ?? 0n);
    if (taken > (task.budgets[name] ?? 0n)) fault(`has given out ${taken} ${name} of ${task.budgets[name]}`);
    if (held < 0n) fault(`is owed ${held} ${name} by those below it`);
    if (record.settled && held > 0n) fault(`was settled while those below it held ${held} ${name}`);
  }
  if (record.settled && !hasEnded(record) && Object.keys(task.budgets).length > 0) {
    fault('was settled before it has ended');
  }
  return faults;
}

function changeFaults(id: string, before: TaskRecord, after: TaskRecord): string[] {
  const [was, is] = [taskOf(before), taskOf(after)];
  const faults: string[] = [];
  const fault = (what: string) => faults.push(`task ${id} ${what}`);
  const known = new Set(before.live.map(({ number }) => number));
  for (const { number } of after.live) {
    if (!known.has(number) && number <= was.attemptCount)
      fault(`has attempt ${number} after ${was.attemptCount}`);
  }
  if (is.attemptCount < was.attemptCount)
    fault(`counts ${is.attemptCount} attempts after ${was.attemptCount}`);
  if (is.failures < was.failures) fault(`counts ${is.failures} failures after ${was.failures}`);
  const less = grown(ownSpent(after), ownSpent(before));
  if (less.length > 0) fault(`has spent less ${less.join()} than before`);
  if (before.settled && !after.settled) fault('was settled, and is not any more');
  if (!hasEnded(before)) return faults;
  const [one, other] = [verdictOf(before), verdictOf(after)];
  if (one !== other) fault(`had ended as ${one}, and ends as ${other}`);
  return faults;
}

/** What a task that has ended never changes. */
function verdictOf(record: TaskRecord): string {
  const { state, agentId, output, error, endTime, attempts, spent } = taskOf(record);
  const said =
    output === undefined ? record.outputKey : Buffer.from(toBinary(PayloadSchema, output)).toString('hex');
  const how = attempts.map(
    (each) => `${each.number} ${TaskAttempt_StateSchema.value[each.state]?.localName}`,
  );
  const cost = Object.entries(spent).map(([name, amount]) => `${amount} ${name}`);
  const time = `${endTime?.seconds}.${endTime?.nanos}`;
  return [Task_StateSchema.value[state]?.localName, agentId, said, error, time, ...how, ...cost.sort()].join(
    ' ',
  );
}

export function allocationFaults({ id, before, after }: Changed<AllocationRecord>): string[] {
  const faults: string[] = [];
  const fault = (what: string) => faults.push(`allocation ${id} ${what}`);
  const was = before && allocationOf(before);
  const over = was !== undefined && isOver(was.state);
  // The id of one that was refused may be used again.
  if (was?.state === Allocation_State.REFUSED && after !== undefined) return [];
  if (after === undefined) {
    const hasBudget = Object.keys(was?.spec.budgets ?? {}).length > 0;
    if (!over) fault('is gone before it has ended');
    else if (before?.settled === false && was?.grantTime !== undefined && hasBudget)
      fault('is gone before it was settled');
    return faults;
  }
  const is = allocationOf(after);
  if (over && was.state !== is.state) fault(`had ended as ${was.state}, and is ${is.state}`);
  if (
    is.state === Allocation_State.ACTIVE &&
    is.agentId === '' &&
    Object.keys(is.spec.resources).length > 0
  ) {
    fault('is reserved nowhere');
  }
  for (const [name, spent] of Object.entries(is.spent)) {
    if (spent > (is.spec.budgets[name] ?? 0n))
      fault(`has spent ${spent} ${name} of ${is.spec.budgets[name]}`);
  }
  if (was !== undefined && grown(is.spent, was.spent).length > 0) fault('has spent less than before');
  return faults;
}

const isOver = (state: Allocation_State): boolean =>
  state !== Allocation_State.WAITING && state !== Allocation_State.ACTIVE;
