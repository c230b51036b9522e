import type { ExplainAgentResponse } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { Ago } from '../../components/age.tsx';
import { Meter } from '../../components/meter.tsx';
import { percent } from '../../lib/format.ts';
import { timeMs } from '../../lib/time.ts';
import { healthTone } from '../agents/columns.tsx';

/** The parts of its health, each with what it rests on. */
export function SignalTiles({ explanation }: { explanation: ExplainAgentResponse }) {
  const score = explanation.agent?.observation?.health?.score;
  const tone = healthTone(score);
  return (
    <section class="signals" aria-label="Health">
      <div class={`signal whole tone-${tone}`}>
        <h2>Health</h2>
        <p class="signal-value">{percent(score)}</p>
        <Meter label="Health" value={score} tone={tone} />
        <p class="signal-evidence">the product of its parts</p>
      </div>
      {explanation.signals.map(({ name, value, evidence, time }) => (
        <div key={name} class={`signal tone-${healthTone(value)}`}>
          <h2>{name}</h2>
          <p class="signal-value">{percent(value)}</p>
          <Meter label={name} value={value} tone={healthTone(value)} />
          <p class="signal-evidence">{evidence}</p>
          {time !== undefined && <Ago ms={timeMs(time)} />}
        </div>
      ))}
    </section>
  );
}
