import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import type { AgentSpecSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { RegisterAgentRequestSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { validateSpec } from '../../../src/domain/validation/agent-spec.ts';
import { validateRequest } from '../../../src/domain/validation/requests.ts';

const many = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));
const entries = <V>(count: number, value: V) => Object.fromEntries(many(count, (i) => [`k${i}`, value]));

type Spec = MessageInitShape<typeof AgentSpecSchema>;

describe('a spec', () => {
  test.each<[string, Spec, string[]]>([
    ['long name', { displayName: 'x'.repeat(257) }, ['display_name']],
    ['256 astral characters', { displayName: '😀'.repeat(256) }, []],
    ['257 astral characters', { displayName: '😀'.repeat(257) }, ['display_name']],
    ['NUL', { displayName: 'a\0b' }, ['display_name']],
    ['escape sequence', { displayName: '\u001b[31m' }, ['display_name']],
    ['line break in a line', { version: 'a\nb' }, ['version']],
    ['lone surrogate', { displayName: '\udc00' }, ['display_name']],
    ['kind with a space', { kind: 'a b' }, ['kind']],
    ['long kind', { kind: 'k'.repeat(65) }, ['kind']],
    ['nameless capability', { capabilities: [{ name: '' }] }, ['capabilities[0].name']],
    ['capability name', { capabilities: [{ name: 'a' }, { name: 'ü' }] }, ['capabilities[1].name']],
    [
      'repeated capability',
      { capabilities: [{ name: 'a' }, { name: 'b' }, { name: 'a' }] },
      ['capabilities[2]'],
    ],
    ['65 capabilities', { capabilities: many(65, (i) => ({ name: `c${i}` })) }, ['capabilities']],
    [
      'capability description',
      { capabilities: [{ name: 'a', description: 'x'.repeat(4097) }] },
      ['capabilities[0].description'],
    ],
    ['33 tags', { capabilities: [{ name: 'a', tags: many(33, () => 't') }] }, ['capabilities[0].tags']],
    ['empty tag', { capabilities: [{ name: 'a', tags: [''] }] }, ['capabilities[0].tags[0]']],
    [
      'media types',
      { capabilities: [{ name: 'a', inputTypes: ['text'], outputTypes: ['a/b/c', 'text/plain\n'] }] },
      [
        'capabilities[0].input_types[0]',
        'capabilities[0].output_types[0]',
        'capabilities[0].output_types[1]',
      ],
    ],
    ['label key', { labels: { 'a b': 'c' } }, ['labels["a b"]']],
    ['label key prefix', { labels: { 'Example.com/a': '' } }, ['labels["Example.com/a"]']],
    ['label value', { labels: { a: '-' } }, ['labels["a"]']],
    ['long label value', { labels: { a: 'v'.repeat(64) } }, ['labels["a"]']],
    ['64 labels', { labels: entries(64, '') }, []],
    ['65 labels', { labels: entries(65, '') }, ['labels']],
    ['annotation key', { annotations: { '': 'x' } }, ['annotations[""]']],
    ['annotation value', { annotations: { a: 'é'.repeat(2049) } }, ['annotations["a"]']],
    ['annotation with NUL', { annotations: { a: '\0' } }, ['annotations["a"]']],
    ['annotations of 32 KiB', { annotations: entries(8, 'x'.repeat(4094)) }, []],
    [
      'annotations above 32 KiB',
      { annotations: { ...entries(8, 'x'.repeat(4094)), k: '' } },
      ['annotations'],
    ],
    [
      'unknown relationship',
      { relationships: [{ type: 9 as never, agentId: 'b' }] },
      ['relationships[0].type'],
    ],
    [
      'relationship without type or agent',
      { relationships: [{}] },
      ['relationships[0].type', 'relationships[0].agent_id'],
    ],
    [
      'repeated relationship',
      { relationships: many(2, () => ({ type: 1, agentId: 'b' })) },
      ['relationships[1]'],
    ],
    [
      'relationship to itself',
      { relationships: [{ type: 1, agentId: 'self' }] },
      ['relationships[0].agent_id'],
    ],
    ['negative capacity', { capacity: { slots: -1n } }, ['capacity["slots"]']],
    ['capacity key', { capacity: { 'a b': 1n } }, ['capacity["a b"]']],
    ['65 capacities', { capacity: entries(65, 1n) }, ['capacity']],
    ['activity name', { activities: [{ name: '/' }] }, ['activities[0].name']],
    ['repeated activity', { activities: [{ name: 'a' }, { name: 'a' }] }, ['activities[1]']],
    [
      'short budget',
      { activities: [{ name: 'a', progressBudget: { nanos: 99_999_999 } }] },
      ['activities[0].progress_budget'],
    ],
    [
      'long budget',
      { activities: [{ name: 'a', progressBudget: { seconds: 2_592_000n, nanos: 1_000_000 } }] },
      ['activities[0].progress_budget'],
    ],
    ['negative forget_after', { forgetAfter: { seconds: -1n } }, ['forget_after']],
    ['zero forget_after', { forgetAfter: {} }, ['forget_after']],
    ['mixed signs', { forgetAfter: { seconds: 5n, nanos: -1 } }, ['forget_after']],
    ['nanos out of range', { forgetAfter: { seconds: 5n, nanos: 1_000_000_000 } }, ['forget_after']],
    ['absurd seconds', { forgetAfter: { seconds: 2n ** 63n - 1n } }, ['forget_after']],
  ])('%s', (_, spec, violated) => {
    const paths = violated.map((path) => `spec.${path}`);
    expect(
      validateRequest(create(RegisterAgentRequestSchema, { agentId: 'self', spec })).map(
        ({ field }) => field,
      ),
    ).toEqual(paths);
    const message = create(RegisterAgentRequestSchema, { spec }).spec;
    expect(message && validateSpec(message, 'self').map(({ field }) => field)).toEqual(paths);
  });
});

describe('descriptions', () => {
  const describeOne = (init: MessageInitShape<typeof RegisterAgentRequestSchema>) =>
    validateRequest(create(RegisterAgentRequestSchema, init)).map(({ description }) => description);

  test('say what is wrong and what is allowed', () => {
    expect(describeOne({ agentId: 'a b' })).toEqual([
      'is "a b"; must be of characters [A-Za-z0-9._-], beginning and ending with a letter or digit',
    ]);
    expect(describeOne({ spec: { kind: 'k'.repeat(70) } })).toEqual([
      'has 70 characters; at most 64 are allowed',
    ]);
    expect(describeOne({ spec: { forgetAfter: {} } })).toEqual(['is 0 s; 1 s to 10 years is allowed']);
    expect(describeOne({ spec: { relationships: [{ type: 7 as never, agentId: 'b' }] } })).toEqual([
      'is "7"; must be one of TYPE_DEPENDS_ON, TYPE_SUPERVISED_BY',
    ]);
  });

  test('never show the values of annotations', () => {
    const secret = 'sk-very-secret\0';
    expect(JSON.stringify(describeOne({ spec: { annotations: { a: secret } } }))).not.toContain('secret');
  });

  test('stay few and short for a request that is wrong throughout', () => {
    const capabilities = many(100_000, () => ({ name: '\u001b'.repeat(50), tags: many(3, () => '\0') }));
    const violations = validateRequest(create(RegisterAgentRequestSchema, { spec: { capabilities } }));
    expect(violations).toHaveLength(101);
    expect(violations[100]?.description).toMatch(/^and \d+ more$/);
    expect(JSON.stringify(violations).length).toBeLessThan(100_000);
  });
});
