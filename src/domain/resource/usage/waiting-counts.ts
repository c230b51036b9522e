import { create } from '@bufbuild/protobuf';
import type { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  type WaitingCount,
  WaitingCountSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { WaitingItem, WaitingLines } from './ports.ts';

/** So many lines and single tasks are asked why they wait; of the others what is stored is told. */
export const MAX_ASKED = 200;

interface Waits<I> {
  /** Whom to ask why. */
  first: I;
  tasks: number;
  oldestMs: number;
}

/**
 * How many tasks wait, by reason. Those of one line wait for what its first waits for: there may be a hundred thousand, and why
 * each of them waits is asked of it alone. That may take milliseconds where there are many agents, so each is a step.
 * @param stored why a task waits as its record says
 */
export function* waitingCounts<I extends WaitingItem>(
  lines: Pick<WaitingLines<I>, 'waiting' | 'why'>,
  nowMs: number,
  stored: (key: string) => PendingReason,
): Generator<void, WaitingCount[]> {
  const counts = new Map<PendingReason, { tasks: number; oldestMs: number }>();
  let asked = 0;
  for (const { first, tasks, oldestMs } of waitsOf(lines)) {
    asked += 1;
    const reason = asked > MAX_ASKED ? stored(first.key) : lines.why(first, nowMs).reason;
    const found = counts.get(reason);
    if (found === undefined) counts.set(reason, { tasks, oldestMs });
    else {
      found.tasks += tasks;
      found.oldestMs = Math.min(found.oldestMs, oldestMs);
    }
    yield;
  }
  return [...counts]
    .sort(([a], [b]) => a - b)
    .map(([reason, { tasks, oldestMs }]) =>
      create(WaitingCountSchema, { reason, tasks, oldestTime: timestampFromMs(oldestMs) }),
    );
}

/** What there is at one moment: the lines change while others have their turn. */
function waitsOf<I extends WaitingItem>({ waiting }: Pick<WaitingLines<I>, 'waiting'>): Waits<I>[] {
  const waits: Waits<I>[] = [];
  for (const { line } of waiting.lanes()) {
    let found: Waits<I> | undefined;
    for (const item of line) {
      if (item.kind !== 'task') continue;
      if (found === undefined) {
        found = { first: item, tasks: 1, oldestMs: item.sinceMs };
        waits.push(found);
      } else {
        found.tasks += 1;
        found.oldestMs = Math.min(found.oldestMs, item.sinceMs);
      }
    }
  }
  for (const item of waiting.all()) {
    if (item.kind !== 'task' || waiting.laneOf(item.key) !== undefined) continue;
    waits.push({ first: item, tasks: 1, oldestMs: item.sinceMs });
  }
  return waits;
}
