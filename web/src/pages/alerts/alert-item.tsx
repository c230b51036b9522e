import { useEffect, useRef, useState } from 'preact/hooks';
import {
  type Alert,
  Alert_State as State,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { Ago } from '../../components/age.tsx';
import { Badge, Chip } from '../../components/badge.tsx';
import { alertSeverity, alertState } from '../../components/states.ts';
import { plural } from '../../lib/format.ts';
import { timeMs } from '../../lib/time.ts';
import { href, namespace } from '../../router.ts';
import { labelsOf } from '../../store/live.ts';
import { AcknowledgeDialog } from './acknowledge-dialog.tsx';
import { AlertDetails } from './alert-details.tsx';
import { matchersOf } from './matchers.ts';
import { SilenceDialog } from './silence-dialog.tsx';

type Asked = 'acknowledge' | 'withdraw' | 'silence' | undefined;

export interface AlertItemProps {
  alert: Alert;
  /** Its address was opened: it is unfolded. */
  isPicked: boolean;
  /** Alerts that it explains, as far as they are known. */
  under: readonly Alert[];
}

export function AlertItem({ alert, isPicked, under }: AlertItemProps) {
  const [asked, setAsked] = useState<Asked>(undefined);
  const [open, setOpen] = useState(isPicked);
  const item = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (isPicked) item.current?.scrollIntoView({ block: 'nearest' });
  }, [isPicked]);
  const { state, severity } = alert;
  const isOpen = state === State.FIRING || state === State.ACKNOWLEDGED;
  const fill = state === State.RESOLVED ? 'idle' : alertSeverity(severity).tone;
  const when = timeMs(alert.resolveTime ?? alert.fireTime ?? alert.startTime);
  return (
    <li ref={item} class={`alert-item tone-${fill}`}>
      <div class="alert-row">
        <button type="button" class="quiet alert-open" aria-expanded={open} onClick={() => setOpen(!open)}>
          <span class="alert-badges">
            <Badge {...alertState(state)} />
            <Badge {...alertSeverity(severity)} plain />
          </span>
          <span class="alert-what">
            <strong>{alert.rule}</strong> <span>{alert.summary}</span>
          </span>
        </button>
        <span class="alert-side">
          {alert.silenceIds.length > 0 && <Badge tone="idle" mark="dash" word="silenced" plain />}
          {alert.noData && <Badge tone="warn" mark="broken" word="no data" plain />}
          {alert.flapping && <Badge tone="warn" mark="half" word="flapping" plain />}
          {alert.groupSize > 0 && <Chip>{plural(alert.groupSize, 'alert')} under it</Chip>}
          {alert.namespace !== namespace.value && (
            <Chip>{alert.namespace === '_system' ? 'service' : alert.namespace}</Chip>
          )}
          {alert.labels.agent_id !== undefined && (
            <a href={href(['agents', alert.labels.agent_id])}>{alert.labels.agent_id}</a>
          )}
          <Ago ms={when} />
          {state === State.FIRING && (
            <button type="button" onClick={() => setAsked('acknowledge')}>
              Acknowledge…
            </button>
          )}
          {state === State.ACKNOWLEDGED && (
            <button type="button" onClick={() => setAsked('withdraw')}>
              Withdraw…
            </button>
          )}
          {isOpen && (
            <button type="button" onClick={() => setAsked('silence')}>
              Silence…
            </button>
          )}
        </span>
      </div>
      {open && <AlertDetails alert={alert} under={under} />}
      {(asked === 'acknowledge' || asked === 'withdraw') && (
        <AcknowledgeDialog
          alert={alert}
          withdraw={asked === 'withdraw'}
          onClose={() => setAsked(undefined)}
        />
      )}
      {asked === 'silence' && (
        <SilenceDialog
          namespace={alert.namespace}
          {...matchersOf(alert.rule, labelsOf(alert))}
          onClose={() => setAsked(undefined)}
        />
      )}
    </li>
  );
}
