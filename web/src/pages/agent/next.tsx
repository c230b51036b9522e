import type { ExplainAgentResponse } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { Badge } from '../../components/badge.tsx';
import { Card } from '../../components/card.tsx';
import { livenessState } from '../../components/states.ts';
import { millis } from '../../lib/format.ts';
import { durationMs } from '../../lib/time.ts';
import { now } from '../../store/link.ts';

/** What will be judged next if nothing is heard, and what is done about it without anybody asking. */
export function NextCard({ explanation, at }: { explanation: ExplainAgentResponse; at: number | undefined }) {
  const { deadlines, actions } = explanation;
  if (deadlines.length === 0 && actions.length === 0) return null;
  const passed = at === undefined ? 0 : now.value - at;
  return (
    <Card title="What comes next">
      {deadlines.length > 0 && (
        <ul class="deadlines">
          {deadlines.map(({ rule, liveness, remaining }) => (
            <li key={`${rule}-${liveness}`}>
              <Badge {...livenessState(liveness)} plain />
              <span>
                by {rule}, if nothing is heard for{' '}
                {millis(Math.max(0, (durationMs(remaining) ?? 0) - passed))}
              </span>
            </li>
          ))}
        </ul>
      )}
      {actions.length > 0 && (
        <ul class="plain-list">
          {actions.map((action) => (
            <li key={action}>{action}</li>
          ))}
        </ul>
      )}
    </Card>
  );
}
