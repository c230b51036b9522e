import { Task_State } from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { Ago } from '../../components/age.tsx';
import { Badge } from '../../components/badge.tsx';
import { Card, Empty } from '../../components/card.tsx';
import { ScrollX } from '../../components/scroll-x.tsx';
import { taskState } from '../../components/states.ts';
import { timeMs } from '../../lib/time.ts';
import { href, namespace } from '../../router.ts';
import { useCall } from '../../store/query.ts';

const STATES = [
  Task_State.ASSIGNED,
  Task_State.RUNNING,
  Task_State.SUCCEEDED,
  Task_State.FAILED,
  Task_State.CANCELLED,
  Task_State.TIMED_OUT,
];

/** Tasks that it has or had, asked for anew when the stream says that something changed. */
export function AgentTasks({ id, changed }: { id: string; changed: string }) {
  const { value, error } = useCall(
    'TaskService',
    'listTasks',
    { namespace: namespace.value, filter: { agentId: id, states: STATES }, pageSize: 100 },
    `${namespace.value} ${id} ${changed}`,
  ).value;
  const tasks = [...(value?.tasks ?? [])].reverse().slice(0, 20);
  return (
    <Card title="Tasks" flush aside={<a href={href(['tasks'], { agent: id })}>All tasks</a>}>
      {tasks.length === 0 ? (
        <Empty title={error === undefined ? 'It has had no tasks of late' : error} />
      ) : (
        <ScrollX label="Tasks">
          <table class="table">
            <thead>
              <tr>
                <th scope="col">Task</th>
                <th scope="col">State</th>
                <th scope="col">Progress</th>
                <th scope="col" class="number">
                  Submitted
                </th>
              </tr>
            </thead>
            <tbody>
              {tasks.map((task) => (
                <tr key={task.id}>
                  <th scope="row">
                    <a href={href(['tasks', task.id])}>{task.spec?.capability}</a>
                    <div class="cell-note mono">{task.id}</div>
                  </th>
                  <td>
                    <Badge {...taskState(task.state)} plain />
                    {task.error !== '' && <div class="cell-note">{task.error}</div>}
                  </td>
                  <td>
                    {task.progress === undefined
                      ? '–'
                      : `${task.progress.done}${task.progress.total === undefined ? '' : ` of ${task.progress.total}`} ${task.progress.name}`}
                  </td>
                  <td class="number">
                    <Ago ms={timeMs(task.createTime)} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </ScrollX>
      )}
    </Card>
  );
}
