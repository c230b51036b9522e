import type { SystemStatus } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { Ago, Until } from '../../components/age.tsx';
import { Badge } from '../../components/badge.tsx';
import { millis, percent, plural } from '../../lib/format.ts';
import { durationMs, timeMs } from '../../lib/time.ts';

/** Where a mass failure or an operator holds back automatic action. */
export function HeldBack({ status }: { status: SystemStatus }) {
  if (status.brakes.length === 0 && status.freezes.length === 0) return null;
  return (
    <section class="held" aria-label="Automatic action held back">
      {status.brakes.map((brake) => (
        <p key={`${brake.namespace}/${brake.zone}`} class="held-line">
          <Badge tone="bad" mark="pause" word="Brake set" />
          <span>
            {brake.zone === '' ? `Namespace ${brake.namespace}` : `Zone ${brake.zone} of ${brake.namespace}`}:{' '}
            <strong>
              {brake.failing} of {plural(brake.agents, 'agent')}
            </strong>{' '}
            in trouble (limit {percent(brake.threshold)}), {plural(brake.held, 'action')} held. {brake.detail}{' '}
            {brake.releaseIn !== undefined && <>Goes on in {millis(durationMs(brake.releaseIn))}.</>}
          </span>
          <Ago ms={timeMs(brake.startTime)} />
        </p>
      ))}
      {status.freezes.map((freeze) => (
        <p key={freeze.namespace} class="held-line">
          <Badge tone="warn" mark="pause" word="Frozen" />
          <span>
            Automatic action in {freeze.namespace} by {freeze.actor}
            {freeze.reason === '' ? '' : `: ${freeze.reason}`}
            {freeze.endTime !== undefined && (
              <>
                {' '}
                (ends <Until ms={timeMs(freeze.endTime)} />)
              </>
            )}
          </span>
          <Ago ms={timeMs(freeze.startTime)} />
        </p>
      ))}
    </section>
  );
}
