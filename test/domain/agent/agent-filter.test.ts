import { create } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import {
  AgentSchema,
  Agent_Liveness as Liveness,
  Agent_Phase as Phase,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { AgentFilterSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { compileAgentFilter, filterFingerprint } from '../../../src/domain/agent/agent-filter.ts';
import { LabelSelectorError } from '../../../src/domain/agent/label-selector.ts';

type Filter = Parameters<typeof create<typeof AgentFilterSchema>>[1];

const agent = create(AgentSchema, {
  id: 'a',
  phase: Phase.ACTIVE,
  liveness: Liveness.CONNECTED,
  spec: { kind: 'summarizer', labels: { tier: 'web' }, capabilities: [{ name: 'sum' }, { name: 'read' }] },
});
const bare = create(AgentSchema, { id: 'b', phase: Phase.REGISTERED, liveness: Liveness.NEVER_SEEN });

describe('an agent filter', () => {
  test.each<[Filter, boolean, boolean]>([
    [{}, true, true],
    [{ capabilities: ['sum'] }, true, false],
    [{ capabilities: ['write', 'read'] }, true, false],
    [{ capabilities: ['write'] }, false, false],
    [{ labelSelector: 'tier=web' }, true, false],
    [{ labelSelector: '!tier' }, false, true],
    [{ labelSelector: 'tier!=web' }, false, true],
    [{ phases: [Phase.ACTIVE] }, true, false],
    [{ phases: [Phase.DRAINED, Phase.REGISTERED] }, false, true],
    [{ liveness: [Liveness.CONNECTED, Liveness.NEVER_SEEN] }, true, true],
    [{ liveness: [Liveness.LOST] }, false, false],
    [{ kinds: ['summarizer'] }, true, false],
    [{ kinds: ['planner'] }, false, false],
    [
      { kinds: ['summarizer'], capabilities: ['sum'], labelSelector: 'tier', phases: [Phase.ACTIVE] },
      true,
      false,
    ],
    [{ kinds: ['summarizer'], capabilities: ['sum'], labelSelector: '!tier' }, false, false],
  ])('%j: the agent %s, the bare one %s', (filter, first, second) => {
    const predicate = compileAgentFilter(create(AgentFilterSchema, filter));
    expect([predicate(agent), predicate(bare)]).toEqual([first, second]);
  });

  test('that is absent matches everything', () => {
    expect(compileAgentFilter(undefined)(bare)).toBe(true);
  });

  test('with a selector that was not validated fails where it is compiled', () => {
    expect(() => compileAgentFilter(create(AgentFilterSchema, { labelSelector: '=' }))).toThrow(
      LabelSelectorError,
    );
  });
});

describe('the fingerprint of a filter', () => {
  const of = (filter?: Filter) => filterFingerprint(filter && create(AgentFilterSchema, filter));

  test.each<[string, Filter | undefined, Filter | undefined]>([
    ['absent and empty', undefined, {}],
    ['order', { kinds: ['a', 'b'] }, { kinds: ['b', 'a'] }],
    ['repetition', { phases: [1, 2] }, { phases: [2, 1, 2] }],
    ['spelling of the selector', { labelSelector: 'a==b, c in (y,x)' }, { labelSelector: 'c in (x,y),a=b' }],
  ])('does not see %s', (_, one, other) => {
    expect(of(one)).toBe(of(other));
  });

  test('differs where filters do', () => {
    const different: (Filter | undefined)[] = [
      undefined,
      { kinds: ['a'] },
      { capabilities: ['a'] },
      { kinds: ['a', 'b'] },
      { phases: [1] },
      { liveness: [1] },
      { labelSelector: 'a' },
      { labelSelector: '!a' },
      { labelSelector: 'a=' },
      { labelSelector: 'a!=' },
    ];
    expect(new Set(different.map(of)).size).toBe(different.length);
  });
});
