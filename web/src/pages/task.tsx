import { useState } from 'preact/hooks';
import {
  TaskAttempt_State as AttemptState,
  type Task,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { Ago, Moment } from '../components/age.tsx';
import { Badge, Chip } from '../components/badge.tsx';
import { Card, Empty, Fact, Facts, Loading } from '../components/card.tsx';
import { FormDialog, TextField, textOf } from '../components/form.tsx';
import { ScrollX } from '../components/scroll-x.tsx';
import { taskState } from '../components/states.ts';
import { enumName, quantity, words } from '../lib/format.ts';
import { timeMs } from '../lib/time.ts';
import { call, requestId } from '../live/client.ts';
import { href, namespace, place } from '../router.ts';
import { now } from '../store/link.ts';
import { tasks } from '../store/live.ts';
import { useCall } from '../store/query.ts';
import { Standing } from './tasks/columns.tsx';
import '../styles/work.css';

const EVERY_MS = 3_000;

/** One task: where it is and why, its attempts, what it has spent. */
export function TaskPage() {
  const id = place.value.path[1] ?? '';
  tasks.version.value;
  const live = tasks.get(id);
  const [cancelling, setCancelling] = useState(false);
  const isOpen = live !== undefined && live.endTime === undefined;
  const beat = isOpen ? Math.floor(now.value / EVERY_MS) : 0;
  const { value, error } = useCall(
    'TaskService',
    'explainTask',
    { namespace: namespace.value, taskId: id },
    `${namespace.value} ${id} ${live?.revision} ${beat}`,
  ).value;
  const task = live ?? value?.task;
  if (task === undefined) {
    if (error === undefined) return <Loading what={`task ${id}`} />;
    return <Empty title={`Task ${id} cannot be shown`}>{error}</Empty>;
  }
  const parent = task.spec?.parentTaskId ?? '';
  return (
    <div class="stack-of-cards one-column">
      <Card
        title={task.spec?.capability === '' ? id : (task.spec?.capability ?? id)}
        aside={
          <>
            <Badge {...taskState(task.state)} />
            {task.endTime === undefined && (
              <button type="button" onClick={() => setCancelling(true)}>
                Cancel
              </button>
            )}
          </>
        }
      >
        <p class="event-message">{value?.summary ?? ''}</p>
        <Facts>
          <Fact name="id">
            <span class="mono">{id}</span>
          </Fact>
          <Fact name="agent">
            {task.agentId === '' ? '–' : <a href={href(['agents', task.agentId])}>{task.agentId}</a>}
          </Fact>
          <Fact name="why, or how far">
            <Standing task={task} />
          </Fact>
          <Fact name="owner">{task.spec?.labels.owner ?? '–'}</Fact>
          <Fact name="priority">{task.spec?.priority ?? 0}</Fact>
          <Fact name="submitted">
            <Ago ms={timeMs(task.createTime)} /> by {task.actor || 'nobody known'}
          </Fact>
          {task.deadlineTime !== undefined && (
            <Fact name="deadline">
              <Moment ms={timeMs(task.deadlineTime)} />
            </Fact>
          )}
          {task.endTime !== undefined && (
            <Fact name="ended">
              <Ago ms={timeMs(task.endTime)} />
            </Fact>
          )}
          {parent !== '' && (
            <Fact name="part of">
              <a href={href(['tasks', parent])}>{parent}</a>
            </Fact>
          )}
          {task.openChildren > 0 && <Fact name="open parts">{task.openChildren}</Fact>}
        </Facts>
        <Amounts title="What it wants" amounts={task.spec?.resources ?? {}} />
        <Amounts title="Spent" amounts={task.spent} />
      </Card>
      <Attempts task={task} />
      {cancelling && <CancelDialog id={id} onClose={() => setCancelling(false)} />}
    </div>
  );
}

function Amounts({ title, amounts }: { title: string; amounts: Record<string, bigint> }) {
  const all = Object.entries(amounts);
  if (all.length === 0) return null;
  return (
    <div class="group">
      <h3>{title}</h3>
      <div class="chips">
        {all.map(([name, amount]) => (
          <Chip key={name}>
            {name} {quantity(name, amount)}
          </Chip>
        ))}
      </div>
    </div>
  );
}

function Attempts({ task: { attempts, attemptCount } }: { task: Task }) {
  return (
    <Card title="Attempts" flush>
      {attempts.length === 0 ? (
        <Empty title="It was not given to an agent yet" />
      ) : (
        <ScrollX label="Attempts">
          <table class="table">
            <thead>
              <tr>
                <th scope="col">Attempt</th>
                <th scope="col">Agent</th>
                <th scope="col">Came to</th>
                <th scope="col">Why there</th>
                <th scope="col" class="number">
                  Given
                </th>
              </tr>
            </thead>
            <tbody>
              {[...attempts].reverse().map(({ number, agentId, state, error, placement, assignTime }) => (
                <tr key={number}>
                  <th scope="row">{number}</th>
                  <td>
                    <a href={href(['agents', agentId])}>{agentId}</a>
                  </td>
                  <td>
                    {words(enumName(AttemptState, state))}
                    {error !== '' && <div class="cell-note">{error}</div>}
                  </td>
                  <td>{placement || '–'}</td>
                  <td class="number">
                    <Ago ms={timeMs(assignTime)} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </ScrollX>
      )}
      {attemptCount > attempts.length && (
        <p class="more-note muted">
          The last {attempts.length} of {attemptCount}.
        </p>
      )}
    </Card>
  );
}

function CancelDialog({ id, onClose }: { id: string; onClose(): void }) {
  return (
    <FormDialog
      title={`Cancel ${id}`}
      button="Cancel the task"
      danger
      onClose={onClose}
      submit={async (data) => {
        const reason = textOf(data, 'reason');
        const request = { namespace: namespace.value, taskId: id, reason, requestId: requestId() };
        const { cancelled } = await call('TaskService', 'cancelTask', request);
        return cancelled ? `${id} is cancelled.` : `${id} had ended before.`;
      }}
    >
      <p>It ends, and so do its parts. Its agent is told to stop.</p>
      <TextField name="reason" label="Reason" note="For the agent, the event and whoever looks later" />
    </FormDialog>
  );
}
