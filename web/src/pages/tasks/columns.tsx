import {
  Task_State as State,
  type Task,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { Ago } from '../../components/age.tsx';
import { Badge } from '../../components/badge.tsx';
import { Meter } from '../../components/meter.tsx';
import { pendingWord } from '../../components/pending.ts';
import { taskState } from '../../components/states.ts';
import type { Column, Sorting } from '../../components/virtual-table.tsx';
import { timeMs } from '../../lib/time.ts';
import { href } from '../../router.ts';

/** Why it waits, how far it is, or what went wrong. */
export function standing(task: Task): string {
  if (task.state === State.PENDING) {
    const { reason, detail = '' } = task.pending ?? {};
    return detail === '' ? pendingWord(reason) : detail;
  }
  if (task.state === State.RUNNING) return task.progress?.name ?? '';
  return task.error;
}

export const TASK_COLUMNS: readonly Column<Task>[] = [
  {
    id: 'id',
    title: 'Task',
    width: '24%',
    sortable: true,
    cell: ({ id, spec }) => (
      <a href={href(['tasks', id])} title={id}>
        {spec?.capability === undefined || spec.capability === '' ? id : spec.capability}{' '}
        <span class="muted mono">{id}</span>
      </a>
    ),
  },
  {
    id: 'state',
    title: 'State',
    width: '8.6rem',
    sortable: true,
    cell: ({ state }) => <Badge {...taskState(state)} plain />,
  },
  {
    id: 'standing',
    title: 'Why, or how far',
    width: '30%',
    hide: 's',
    cell: (task) => <Standing task={task} />,
  },
  {
    id: 'agent',
    title: 'Agent',
    width: '14%',
    hide: 's',
    sortable: true,
    cell: ({ agentId }) =>
      agentId === '' ? <span class="muted">–</span> : <a href={href(['agents', agentId])}>{agentId}</a>,
  },
  {
    id: 'owner',
    title: 'Owner',
    width: '9%',
    hide: 'm',
    sortable: true,
    cell: ({ spec }) => spec?.labels.owner ?? <span class="muted">–</span>,
  },
  {
    id: 'priority',
    title: 'Priority',
    width: '5.6rem',
    number: true,
    hide: 'm',
    sortable: true,
    cell: ({ spec }) => spec?.priority ?? 0,
  },
  {
    id: 'tries',
    title: 'Tries',
    width: '4.6rem',
    number: true,
    hide: 'm',
    sortable: true,
    cell: ({ attemptCount }) => attemptCount,
  },
  {
    id: 'created',
    title: 'Submitted',
    width: '8.5rem',
    number: true,
    sortable: true,
    cell: ({ createTime }) => <Ago ms={timeMs(createTime)} />,
  },
];

export function Standing({ task }: { task: Task }) {
  const { progress } = task;
  const text = standing(task);
  if (task.state === State.RUNNING && progress !== undefined) {
    const { done, total } = progress;
    return (
      <span class="task-progress">
        {total !== undefined && total > 0n && (
          <Meter label="Progress" value={Number(done) / Number(total)} tone="ok" />
        )}
        <span>
          {`${done}`}
          {total === undefined ? '' : ` of ${total}`} {text}
        </span>
      </span>
    );
  }
  return text === '' ? <span class="muted">–</span> : <span title={text}>{text}</span>;
}

export function taskHaystack({ id, agentId, spec, error }: Task): string {
  const labels = Object.entries(spec?.labels ?? {}).map(([name, value]) => `${name}=${value}`);
  return [id, agentId, spec?.capability, error, ...labels].join(' ').toLowerCase();
}

export function sortedTasks(tasks: readonly Task[], { column, down }: Sorting): Task[] {
  const key = (task: Task): number | string => {
    switch (column) {
      case 'id':
        return task.spec?.capability ?? '';
      case 'state':
        return task.state;
      case 'agent':
        return task.agentId;
      case 'owner':
        return task.spec?.labels.owner ?? '';
      case 'priority':
        return task.spec?.priority ?? 0;
      case 'tries':
        return task.attemptCount;
      default:
        return timeMs(task.createTime) ?? 0;
    }
  };
  const sign = down ? -1 : 1;
  return tasks
    .map((task) => ({ task, key: key(task) }))
    .sort((a, b) => (a.key === b.key ? (a.task.id < b.task.id ? -1 : 1) : a.key < b.key ? -sign : sign))
    .map(({ task }) => task);
}
