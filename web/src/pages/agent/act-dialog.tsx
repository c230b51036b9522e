import type { Agent } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { FormDialog, TextField, textOf } from '../../components/form.tsx';
import { toDuration } from '../../lib/time.ts';
import { call, requestId } from '../../live/client.ts';

export type Act = 'drain' | 'resume' | 'restart' | 'stop' | 'quarantine';

interface Wording {
  title: string;
  effect: string;
  button: string;
  done: string;
  danger: boolean;
  /** What a number of minutes is for; absent: there is none to give. */
  minutes?: { label: string; note: string };
}

const WORDING: Readonly<Record<Act, Wording>> = {
  drain: {
    title: 'Drain',
    effect: 'It finishes what it has and gets nothing new.',
    button: 'Drain',
    done: 'is told to finish its work',
    danger: false,
    minutes: { label: 'Minutes it may take', note: 'Empty: as configured' },
  },
  resume: {
    title: 'Resume',
    effect: 'It is given work again: its drain, quarantine or stop is over.',
    button: 'Resume',
    done: 'may be given work again',
    danger: false,
  },
  restart: {
    title: 'Restart',
    effect:
      'Its supervisor, or the agent itself, is told to replace its process. What it works on may begin anew.',
    button: 'Restart',
    done: 'is to be restarted',
    danger: true,
  },
  stop: {
    title: 'Stop',
    effect: 'It finishes and leaves, and may not attach again until it is resumed.',
    button: 'Stop the agent',
    done: 'is told to stop',
    danger: true,
    minutes: { label: 'Minutes it may take', note: 'Empty: as configured' },
  },
  quarantine: {
    title: 'Quarantine',
    effect: 'It stays attached and gets no work.',
    button: 'Quarantine',
    done: 'is set aside',
    danger: true,
    minutes: { label: 'For how many minutes', note: 'Empty: until it is resumed' },
  },
};

/** Asks once more, with a reason for the event, and does it. */
export function ActDialog({ act, agent, onClose }: { act: Act; agent: Agent; onClose(): void }) {
  const { title, effect, button, done, danger, minutes } = WORDING[act];
  return (
    <FormDialog
      title={`${title} ${agent.id}`}
      button={button}
      danger={danger}
      onClose={onClose}
      submit={async (data) => {
        await perform(act, agent, data);
        return `${agent.id} ${done}.`;
      }}
    >
      <p>{effect}</p>
      <TextField name="reason" label="Reason" note="For the agent, the event and whoever looks later" />
      {minutes !== undefined && (
        <div class="field">
          <label for="act-minutes">{minutes.label}</label>
          <input
            id="act-minutes"
            name="minutes"
            type="number"
            min="0.02"
            max="43200"
            step="any"
            inputMode="decimal"
          />
          <span class="field-note">{minutes.note}</span>
        </div>
      )}
      {act === 'drain' && (
        <label class="check">
          <input type="checkbox" name="mandatory" /> Also when it refuses
        </label>
      )}
    </FormDialog>
  );
}

async function perform(act: Act, agent: Agent, data: FormData): Promise<void> {
  const minutes = Number(data.get('minutes') ?? '');
  const within = minutes > 0 ? toDuration(minutes * 60_000) : undefined;
  const deadline = within === undefined ? {} : { deadline: within };
  const base = {
    namespace: agent.namespace,
    agentId: agent.id,
    requestId: requestId(),
    reason: textOf(data, 'reason'),
  };
  if (act === 'drain') {
    const mandatory = data.get('mandatory') !== null;
    await call('AgentService', 'drainAgent', { ...base, ...deadline, mandatory });
  } else if (act === 'resume') await call('AgentService', 'resumeAgent', base);
  else if (act === 'restart') await call('AgentService', 'restartAgent', base);
  else if (act === 'stop') await call('AgentService', 'stopAgent', { ...base, ...deadline });
  else {
    const duration = within === undefined ? {} : { duration: within };
    await call('AgentService', 'quarantineAgent', { ...base, ...duration });
  }
}
