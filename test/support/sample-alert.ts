import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type Alert,
  Alert_State,
  AlertSchema,
  AlertSeverity,
} from '../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { timestampFromMs } from '../../src/lib/proto-time.ts';

export const alertTimeMs = Date.UTC(2026, 7, 3, 12, 0, 0);

type Fields = Exclude<MessageInitShape<typeof AlertSchema>, Alert>;

/** An alert that fires about agent a1. */
export function sampleAlert(fields: Fields = {}): Alert {
  return create(AlertSchema, {
    id: 'alert-1',
    namespace: 'default',
    rule: 'agent_lost',
    severity: AlertSeverity.CRITICAL,
    state: Alert_State.FIRING,
    labels: { agent_id: 'a1', 'topology.kubernetes.io/zone': 'eu-1', empty: '' },
    summary: 'agent a1 is lost',
    description: 'Look at its process.',
    runbookUrl: 'https://runbooks.example/agent-lost',
    value: 1,
    threshold: 0.5,
    startTime: timestampFromMs(alertTimeMs - 5000),
    fireTime: timestampFromMs(alertTimeMs),
    ...fields,
  });
}

export const resolvedAlert = (fields: Fields = {}): Alert =>
  sampleAlert({
    state: Alert_State.RESOLVED,
    resolveTime: timestampFromMs(alertTimeMs + 60_000),
    ...fields,
  });
