import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type Agent,
  Agent_Liveness,
  Agent_Phase,
  AgentSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';

/** When the sample agents were measured. */
export const sampleTimeMs = Date.UTC(2026, 7, 3, 12, 0, 0);

/** A healthy agent of kind "summarizer" whose reading is `ageMs` old. */
export function sampleAgent(
  id: string,
  changes: MessageInitShape<typeof AgentSchema> = {},
  ageMs = 1_200,
): Agent {
  return create(AgentSchema, {
    namespace: 'default',
    id,
    uid: `uid-${id}`,
    revision: 5n,
    createTime: timestampFromMs(sampleTimeMs - 3_600_000),
    updateTime: timestampFromMs(sampleTimeMs - 60_000),
    spec: {
      kind: 'summarizer',
      version: '1.4.0',
      labels: { tier: 'web', env: 'prod' },
      capabilities: [{ name: 'summarize', version: '2' }],
      capacity: { cpu_milli: 4000n },
    },
    phase: Agent_Phase.ACTIVE,
    liveness: Agent_Liveness.CONNECTED,
    verdict: {
      time: timestampFromMs(sampleTimeMs - 60_000),
      rule: 'attached',
      detail: 'opened a session',
      replicaId: 'r1',
    },
    observation: {
      observeTime: timestampFromMs(sampleTimeMs - ageMs),
      age: durationFromMs(ageMs),
      replicaId: 'r1',
      sessionEpoch: 3n,
      peer: '127.0.0.1:4711',
      attachTime: timestampFromMs(sampleTimeMs - 60_000),
      health: { score: 0.98, connected: 1, responsive: 0.98, progressing: 1, headroom: 1 },
      roundTrip: {
        last: durationFromMs(1.1),
        smoothed: durationFromMs(1.2),
        variation: durationFromMs(0.3),
        p50: durationFromMs(1.2),
        p95: durationFromMs(80),
        p99: durationFromMs(95),
        samples: 40,
      },
      report: { activity: 'indexing', load: 0.42 },
      reportTime: timestampFromMs(sampleTimeMs - ageMs),
      heartbeats: 41n,
    },
    ...(changes as object),
  });
}
