import type { WaitingCount } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { Ago } from '../../components/age.tsx';
import { Card, Empty } from '../../components/card.tsx';
import { pendingWord } from '../../components/pending.ts';
import { count, plural } from '../../lib/format.ts';
import { timeMs } from '../../lib/time.ts';
import { href } from '../../router.ts';

/** Tasks that wait, by what they wait for. */
export function WaitingCard({ waiting }: { waiting: readonly WaitingCount[] }) {
  const all = waiting.reduce((sum, { tasks }) => sum + tasks, 0);
  const sorted = [...waiting].sort((a, b) => b.tasks - a.tasks);
  return (
    <Card
      title="What waits, and why"
      flush
      aside={<a href={href(['tasks'], { state: 'pending' })}>{plural(all, 'task')}</a>}
    >
      {all === 0 ? (
        <Empty title="No task waits" />
      ) : (
        <table class="table">
          <thead>
            <tr>
              <th scope="col">Because</th>
              <th scope="col" class="number">
                Tasks
              </th>
              <th scope="col" class="number">
                The oldest since
              </th>
            </tr>
          </thead>
          <tbody>
            {sorted.map(({ reason, tasks, oldestTime }) => (
              <tr key={reason}>
                <th scope="row">{pendingWord(reason)}</th>
                <td class="number">{count(tasks)}</td>
                <td class="number">
                  <Ago ms={timeMs(oldestTime)} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Card>
  );
}
