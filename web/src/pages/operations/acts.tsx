import { useState } from 'preact/hooks';
import {
  type Operation,
  Operation_State as State,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { FormDialog, TextField, textOf } from '../../components/form.tsx';
import { call, requestId } from '../../live/client.ts';

type Act = 'pauseOperation' | 'resumeOperation' | 'cancelOperation';

const WORDING: Readonly<Record<Act, { verb: string; effect: string; done: string; danger: boolean }>> = {
  pauseOperation: {
    verb: 'Pause',
    effect: 'No further agent gets the command; those that have it go on.',
    done: 'is paused',
    danger: false,
  },
  resumeOperation: {
    verb: 'Go on',
    effect: 'Further agents get the command. What stopped it is looked at anew.',
    done: 'goes on',
    danger: false,
  },
  cancelOperation: {
    verb: 'Cancel',
    effect:
      'No further agent gets the command, and it is taken back from those that have not begun. This is the end of it.',
    done: 'is cancelled',
    danger: true,
  },
};

/** What can be done with an operation as it stands; each is asked for once more. */
export function OperationActs({ operation }: { operation: Operation }) {
  const [act, setAct] = useState<Act>();
  const acts = actsOf(operation);
  if (acts.length === 0) return null;
  return (
    <div class="operation-acts">
      {acts.map((each) => (
        <button
          key={each}
          type="button"
          class={WORDING[each].danger ? 'danger-quiet' : ''}
          onClick={() => setAct(each)}
        >
          {WORDING[each].verb}
          <span class="unseen"> {operation.spec?.command}</span>
        </button>
      ))}
      {act !== undefined && <ActDialog act={act} operation={operation} onClose={() => setAct(undefined)} />}
    </div>
  );
}

function ActDialog({ act, operation, onClose }: { act: Act; operation: Operation; onClose(): void }) {
  const { verb, effect, done, danger } = WORDING[act];
  const name = operation.spec?.command ?? operation.id;
  return (
    <FormDialog
      title={`${verb}: ${name}`}
      button={verb === 'Cancel' ? 'Cancel the operation' : verb}
      danger={danger}
      onClose={onClose}
      submit={async (data) => {
        await perform(act, operation, data);
        return `${name} ${done}.`;
      }}
    >
      <p>{effect}</p>
      {act === 'resumeOperation' && (
        <div class="field check">
          <label>
            <input type="checkbox" name="retry" /> Agents that failed get it again
          </label>
        </div>
      )}
      {act !== 'resumeOperation' && (
        <TextField name="reason" label="Reason" note="For the event and whoever looks later" />
      )}
    </FormDialog>
  );
}

async function perform(act: Act, { namespace, id }: Operation, data: FormData): Promise<void> {
  const request = { namespace, operationId: id, requestId: requestId() };
  const reason = textOf(data, 'reason');
  if (act === 'pauseOperation') await call('FleetOperationService', act, { ...request, reason });
  else if (act === 'cancelOperation') await call('FleetOperationService', act, { ...request, reason });
  else await call('FleetOperationService', act, { ...request, retryFailed: data.get('retry') === 'on' });
}

function actsOf({ state, endTime }: Operation): Act[] {
  if (endTime !== undefined || state === State.CANCELLED) return [];
  if (state === State.RUNNING) return ['pauseOperation', 'cancelOperation'];
  if (state === State.PAUSED || state === State.STOPPED) return ['resumeOperation', 'cancelOperation'];
  return [];
}
