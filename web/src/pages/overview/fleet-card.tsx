import {
  Agent_Liveness as Liveness,
  Agent_Phase as Phase,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { SystemStatus } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { Age } from '../../components/age.tsx';
import { Card, Empty, Fact, Facts } from '../../components/card.tsx';
import { Stack } from '../../components/meter.tsx';
import { Shape } from '../../components/shape.tsx';
import { livenessState, phaseState } from '../../components/states.ts';
import { count, millis, plural } from '../../lib/format.ts';
import { durationMs } from '../../lib/time.ts';
import { href } from '../../router.ts';
import { livenessName, phaseName } from '../agents/filter.ts';

const ORDER: readonly Liveness[] = [
  Liveness.CONNECTED,
  Liveness.SUSPECT,
  Liveness.DISCONNECTED,
  Liveness.LOST,
  Liveness.LEFT,
  Liveness.NEVER_SEEN,
];
const PHASES: readonly Phase[] = [Phase.DRAINING, Phase.DRAINED, Phase.QUARANTINED, Phase.STOPPED];

export function FleetCard({ status, at }: { status: SystemStatus; at: number }) {
  const fleet = status.fleet;
  if (fleet === undefined || fleet.agents === 0)
    return (
      <Card title="Fleet">
        <Empty title="No agents yet">
          <p>
            <code>npm run demo</code> attaches some twenty agents of all kinds.
          </p>
        </Empty>
      </Card>
    );
  const counts = new Map(fleet.byLiveness.map(({ liveness, count: many }) => [liveness, many]));
  const phases = new Map(fleet.byPhase.map(({ phase, count: many }) => [phase, many]));
  const oldest = durationMs(fleet.oldestReading);
  const parts = ORDER.map((liveness) => ({
    liveness,
    ...livenessState(liveness),
    count: counts.get(liveness) ?? 0,
  }));
  return (
    <Card title="Fleet" aside={<a href={href(['agents'])}>{plural(fleet.agents, 'agent')}</a>}>
      <Stack label="Agents by liveness" segments={parts} />
      <ul class="legend">
        {parts.map(({ liveness, tone, mark, word, count: many }) => (
          <li key={word} class={many === 0 ? 'none' : ''}>
            <a href={href(['agents'], { liveness: livenessName(liveness) })}>
              <span class={`legend-mark tone-${tone}`}>
                <Shape mark={mark} />
              </span>
              <span class="legend-count">{count(many)}</span>
              <span class="legend-word">{word}</span>
            </a>
          </li>
        ))}
      </ul>
      <Facts>
        <Fact name="Round trip p50">{millis(durationMs(fleet.rttP50))}</Fact>
        <Fact name="Round trip p95">{millis(durationMs(fleet.rttP95))}</Fact>
        <Fact name="Deliveries pending">{count(status.pendingDeliveries)}</Fact>
        {PHASES.filter((phase) => (phases.get(phase) ?? 0) > 0).map((phase) => (
          <Fact key={phase} name={phaseState(phase).word}>
            <a href={href(['agents'], { phase: phaseName(phase) })}>{count(phases.get(phase) ?? 0)}</a>
          </Fact>
        ))}
        <Fact name="Oldest reading">{oldest === undefined ? '–' : <Age at={at - oldest} />}</Fact>
      </Facts>
    </Card>
  );
}
