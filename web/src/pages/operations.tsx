import { useState } from 'preact/hooks';
import {
  type Operation,
  Operation_State as State,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { Ago } from '../components/age.tsx';
import { Badge } from '../components/badge.tsx';
import { Empty, Loading } from '../components/card.tsx';
import { operationState } from '../components/states.ts';
import { plural } from '../lib/format.ts';
import { timeMs } from '../lib/time.ts';
import { href } from '../router.ts';
import { heardAt } from '../store/link.ts';
import { faults, operations } from '../store/live.ts';
import { OperationActs } from './operations/acts.tsx';
import { OutcomeBar } from './operations/outcome-bar.tsx';
import '../styles/work.css';

const PART_OPERATIONS = 5;

/** Commands for many agents: those under way with their progress, then those that are over. */
export function OperationsPage() {
  operations.version.value;
  const [withEnded, setWithEnded] = useState(true);
  const all = operations.list().sort(byUrgency);
  const open = all.filter((each) => each.endTime === undefined);
  const ended = all.filter((each) => each.endTime !== undefined);
  const fault = faults.value.get(PART_OPERATIONS);
  if (all.length === 0) {
    if (fault !== undefined) return <Empty title="Operations cannot be told">{fault.message}</Empty>;
    if (heardAt.value === undefined) return <Loading what="operations" />;
    return (
      <Empty title="No fleet operation has been started">
        An operation gives one command to many agents, in waves:{' '}
        <code>orchestrator operations start restart -l tier=web --wave 10%</code>
      </Empty>
    );
  }
  return (
    <div class="stack-of-cards one-column">
      <section aria-label="Not over">
        <h2 class="list-title">{plural(open.length, 'operation')} not over</h2>
        {open.length > 0 && <OperationList operations={open} />}
      </section>
      {ended.length > 0 && (
        <section aria-label="Over">
          <h2 class="list-title">
            {plural(ended.length, 'operation')} over{' '}
            <button
              type="button"
              class="quiet"
              aria-expanded={withEnded}
              onClick={() => setWithEnded(!withEnded)}
            >
              {withEnded ? 'Hide' : 'Show'}
            </button>
          </h2>
          {withEnded && <OperationList operations={ended} />}
        </section>
      )}
    </div>
  );
}

function OperationList({ operations: shown }: { operations: readonly Operation[] }) {
  return (
    <ul class="operation-list">
      {shown.map((operation) => (
        <li key={operation.id} class="card operation">
          <OperationHead operation={operation} />
          <OutcomeBar operation={operation} />
        </li>
      ))}
    </ul>
  );
}

export function OperationHead({ operation, linked = true }: { operation: Operation; linked?: boolean }) {
  const { id, spec, state, detail, actor, startTime, endTime, waves, wave, agents } = operation;
  const name = spec?.command === '' || spec === undefined ? id : spec.command;
  return (
    <div class="operation-head">
      <div class="operation-title">
        {linked ? <a href={href(['operations', id])}>{name}</a> : <strong>{name}</strong>}
        <Badge {...operationState(state)} />
        <span class="muted">
          {plural(agents, 'agent')}
          {waves > 1 ? `, wave ${wave} of ${waves}` : ''}
        </span>
      </div>
      <OperationActs operation={operation} />
      <p class="operation-detail">
        {detail !== '' && <span>{detail} </span>}
        <span class="muted">
          started <Ago ms={timeMs(startTime)} /> by {actor === '' ? 'nobody known' : actor}
          {endTime !== undefined && (
            <>
              , over <Ago ms={timeMs(endTime)} />
            </>
          )}
        </span>
      </p>
    </div>
  );
}

const ORDER: readonly State[] = [State.STOPPED, State.PAUSED, State.RUNNING];

function byUrgency(a: Operation, b: Operation): number {
  const place = ({ state }: Operation) => (ORDER.includes(state) ? ORDER.indexOf(state) : ORDER.length);
  return place(a) - place(b) || (timeMs(b.startTime) ?? 0) - (timeMs(a.startTime) ?? 0);
}
