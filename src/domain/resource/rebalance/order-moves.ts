import type { Commit } from '../../../state/store.ts';
import { copyTask, encodeTask, type KnownTask, taskKey } from '../../coordination/tasks/task-record.ts';

/** A task, and where it is wanted. */
export interface OrderedMove {
  known: KnownTask;
  to: string;
}

/**
 * What has the scheduler move tasks: each gets a second attempt where it is wanted, and the first is taken back once the
 * second runs. All or none, and only as the tasks are known.
 */
export function orderMoves(
  moves: readonly OrderedMove[],
  actor: string,
): Required<Pick<Commit, 'checks' | 'puts'>> {
  const checks = moves.map(({ known: { id, revision } }) => ({ key: taskKey(id), revision }));
  const puts = moves.map(({ known, to }) => {
    const record = copyTask(known);
    record.moveToAgentId = to;
    record.moveActor = actor;
    return { key: taskKey(known.id), value: encodeTask(record) };
  });
  return { checks, puts };
}
