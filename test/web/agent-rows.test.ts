import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import {
  AgentSchema,
  Agent_Liveness as Liveness,
  Agent_Phase as Phase,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { rowOf } from '../../web/src/live/agent-row.ts';
import { healthOf, sorted } from '../../web/src/pages/agents/sorting.ts';

const row = (id: string, liveness: Liveness, phase: Phase, score: number) =>
  rowOf(create(AgentSchema, { id, liveness, phase, observation: { health: { score } } }), 0);

test.each([
  ['connected', Liveness.CONNECTED, Phase.ACTIVE, 0.5, 0.5],
  ['lost', Liveness.LOST, Phase.ACTIVE, 0, 0],
  ['left', Liveness.LEFT, Phase.ACTIVE, 0, undefined],
  ['never seen', Liveness.NEVER_SEEN, Phase.REGISTERED, 0, undefined],
  ['stopped', Liveness.LOST, Phase.STOPPED, 0, undefined],
])('the health of an agent that is %s', (_name, liveness, phase, score, shown) => {
  expect(healthOf(row('a', liveness, phase, score))).toBe(shown);
});

test('those without health come last, whichever way it is sorted', () => {
  const rows = [
    row('left', Liveness.LEFT, Phase.ACTIVE, 0),
    row('fine', Liveness.CONNECTED, Phase.ACTIVE, 1),
    row('lost', Liveness.LOST, Phase.ACTIVE, 0),
  ];
  const ids = (down: boolean) => sorted(rows, { column: 'health', down }).map(({ id }) => id);
  expect(ids(false)).toEqual(['lost', 'fine', 'left']);
  expect(ids(true)).toEqual(['fine', 'lost', 'left']);
});
