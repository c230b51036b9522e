import type { SystemStatus } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { Age, Ago } from '../../components/age.tsx';
import { Shape } from '../../components/shape.tsx';
import { systemState } from '../../components/states.ts';
import { timeMs } from '../../lib/time.ts';

/** The whole in a word, and why. */
export function Verdict({ status, at }: { status: SystemStatus; at: number }) {
  const { tone, mark, word } = systemState(status.state);
  const analysed = timeMs(status.analysedTime);
  return (
    <section class={`verdict tone-${tone}`} aria-label="State of the system">
      <p class="verdict-word">
        <Shape mark={mark} />
        {word}
      </p>
      {status.reasons.length === 0 ? (
        <p class="verdict-text">Nothing calls for attention.</p>
      ) : (
        <ul class="verdict-text">
          {status.reasons.slice(0, 8).map((reason) => (
            <li key={reason}>{reason}</li>
          ))}
          {status.reasons.length > 8 && <li>and {status.reasons.length - 8} more</li>}
        </ul>
      )}
      <p class="verdict-age">
        status <Age at={at} />
        {analysed !== undefined && (
          <>
            {' '}
            · analysed <Ago ms={analysed} />
          </>
        )}
      </p>
    </section>
  );
}
