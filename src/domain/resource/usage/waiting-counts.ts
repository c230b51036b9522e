import { create } from '@bufbuild/protobuf';
import type { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  type WaitingCount,
  WaitingCountSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { WaitingItem, WaitingLines } from './ports.ts';

/**
 * How many tasks wait, by reason. Those of one line wait for what its first waits for: there may be a hundred thousand, and why
 * each of them waits is asked of it alone.
 */
export function waitingCounts<I extends WaitingItem>(
  lines: Pick<WaitingLines<I>, 'waiting' | 'why'>,
  nowMs: number,
): WaitingCount[] {
  const { waiting } = lines;
  const counts = new Map<PendingReason, { tasks: number; oldestMs: number }>();
  const count = (reason: PendingReason, sinceMs: number): void => {
    const found = counts.get(reason);
    if (found === undefined) counts.set(reason, { tasks: 1, oldestMs: sinceMs });
    else {
      found.tasks += 1;
      found.oldestMs = Math.min(found.oldestMs, sinceMs);
    }
  };
  for (const { line } of waiting.lanes()) {
    let reason: PendingReason | undefined;
    for (const item of line) {
      if (item.kind !== 'task') continue;
      reason ??= lines.why(item, nowMs).reason;
      count(reason, item.sinceMs);
    }
  }
  for (const item of waiting.all()) {
    if (item.kind !== 'task' || waiting.laneOf(item.key) !== undefined) continue;
    count(lines.why(item, nowMs).reason, item.sinceMs);
  }
  return [...counts]
    .sort(([a], [b]) => a - b)
    .map(([reason, { tasks, oldestMs }]) =>
      create(WaitingCountSchema, { reason, tasks, oldestTime: timestampFromMs(oldestMs) }),
    );
}
