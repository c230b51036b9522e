import { create, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  DeregisterAgentRequestSchema,
  GetAgentRequestSchema,
  ListAgentsRequestSchema,
  RegisterAgentRequestSchema,
  UpdateAgentRequestSchema,
  WatchAgentsRequestSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { PollSessionRequestSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  ListEventsRequestSchema,
  WatchEventsRequestSchema,
  WatchSystemStatusRequestSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { validateRequest } from '../../../src/domain/validation/requests.ts';
import { encodeCursor } from '../../../src/lib/cursor.ts';

function fieldsOf<S extends DescMessage>(schema: S, init: MessageInitShape<S>): string[] {
  return validateRequest(create(schema, init)).map(({ field }) => field);
}

const many = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));

const full: MessageInitShape<typeof RegisterAgentRequestSchema> = {
  namespace: 'prod-1',
  agentId: 'summarizer-7.eu_west',
  requestId: '2b0c6e3e-7c1c-4a5e-9d4e-000000000000',
  spec: {
    displayName: 'Résumé writer 👩🏽‍💻 (שלום)',
    kind: 'summarizer',
    version: 'v1.2.3+build.7',
    capabilities: [
      {
        name: 'text/summarize',
        version: '2',
        description: 'Summarizes.\n\tLines are fine.',
        tags: ['nlp', 'übersetzung'],
        inputTypes: ['text/plain; charset=utf-8', 'application/vnd.api+json'],
        outputTypes: ['*/*', 'image/*'],
      },
      { name: 'read' },
    ],
    labels: { tier: 'web', 'topology.kubernetes.io/zone': 'eu-1a', empty: '', constructor: 'x' },
    annotations: { 'example.com/note': 'any ‑ text\nat all', big: 'x'.repeat(4096) },
    relationships: [
      { type: 1, agentId: 'db' },
      { type: 2, agentId: 'db' },
    ],
    capacity: { cpu_milli: 4000n, 'gpu/a100': 0n, memory_bytes: 2n ** 63n - 1n },
    activities: [{ name: 'thinking', progressBudget: { seconds: 60n } }, { name: 'idle' }],
    forgetAfter: { seconds: 3600n },
  },
};

describe('sound requests', () => {
  test.each<[string, string[]]>([
    ['a full registration', fieldsOf(RegisterAgentRequestSchema, full)],
    ['a registration of nothing', fieldsOf(RegisterAgentRequestSchema, {})],
    ['a one-letter id', fieldsOf(GetAgentRequestSchema, { agentId: 'x' })],
    [
      'the longest id',
      fieldsOf(GetAgentRequestSchema, { agentId: 'x'.repeat(128), namespace: 'n'.repeat(63) }),
    ],
    ['a list without anything', fieldsOf(ListAgentsRequestSchema, {})],
    ['a large page', fieldsOf(ListAgentsRequestSchema, { pageSize: 2 ** 31 - 1 })],
    [
      'a watch from a cursor',
      fieldsOf(WatchAgentsRequestSchema, {
        cursor: encodeCursor({ namespace: 'default', epoch: 1n, revision: 2n }),
        sampleInterval: { nanos: 100_000_000 },
      }),
    ],
    ['a watch of an hour', fieldsOf(WatchSystemStatusRequestSchema, { minInterval: { seconds: 3600n } })],
    [
      'an update of everything',
      fieldsOf(UpdateAgentRequestSchema, {
        agentId: 'a',
        spec: {},
        updateMask: { paths: ['*'] },
        expectedRevision: 0n,
      }),
    ],
    [
      'an update of keys',
      fieldsOf(UpdateAgentRequestSchema, {
        agentId: 'a',
        spec: {},
        updateMask: { paths: ['labels.a.b/c.d', 'capacity.cpu_milli'] },
      }),
    ],
    [
      'a first poll',
      fieldsOf(PollSessionRequestSchema, { frames: [{ frame: { case: 'hello', value: {} } }], wait: {} }),
    ],
    [
      'events of a type',
      fieldsOf(ListEventsRequestSchema, {
        filter: {
          types: ['agent.lost', 'agent.*', '*'],
          minSeverity: 2,
          startTime: { seconds: 1n },
          endTime: { seconds: 1n, nanos: 1 },
        },
      }),
    ],
  ])('%s', (_, violated) => {
    expect(violated).toEqual([]);
  });
});

describe('requests', () => {
  test.each<[string, string[], string[]]>([
    ['no agent', fieldsOf(GetAgentRequestSchema, {}), ['agent_id']],
    ...['-a', 'a-', 'a b', 'ä', 'a/b', 'a\n', '.', 'x'.repeat(129)].map(
      (agentId): [string, string[], string[]] => [
        `agent id ${JSON.stringify(agentId).slice(0, 20)}`,
        fieldsOf(GetAgentRequestSchema, { agentId }),
        ['agent_id'],
      ],
    ),
    ...['A', '-a', 'a_b', 'a.b', 'n'.repeat(64)].map((namespace): [string, string[], string[]] => [
      `namespace ${namespace.slice(0, 20)}`,
      fieldsOf(GetAgentRequestSchema, { namespace, agentId: 'a' }),
      ['namespace'],
    ]),
    [
      'negative revision',
      fieldsOf(GetAgentRequestSchema, { agentId: 'a', minRevision: -1n }),
      ['min_revision'],
    ],
    ['request id', fieldsOf(RegisterAgentRequestSchema, { requestId: 'a b' }), ['request_id']],
    ['long request id', fieldsOf(RegisterAgentRequestSchema, { requestId: 'r'.repeat(129) }), ['request_id']],
    ['negative page', fieldsOf(ListAgentsRequestSchema, { pageSize: -1 }), ['page_size']],
    ['page token', fieldsOf(ListAgentsRequestSchema, { pageToken: 'a token' }), ['page_token']],
    ['long page token', fieldsOf(ListEventsRequestSchema, { pageToken: 'A'.repeat(1537) }), ['page_token']],
    [
      'selector',
      fieldsOf(ListAgentsRequestSchema, { filter: { labelSelector: 'a=b,' } }),
      ['filter.label_selector'],
    ],
    [
      'phases',
      fieldsOf(ListAgentsRequestSchema, { filter: { phases: [2, 0, 99 as never, -1 as never] } }),
      ['filter.phases[1]', 'filter.phases[2]', 'filter.phases[3]'],
    ],
    [
      'liveness',
      fieldsOf(WatchAgentsRequestSchema, { filter: { liveness: [7 as never] } }),
      ['filter.liveness[0]'],
    ],
    [
      '33 kinds',
      fieldsOf(ListAgentsRequestSchema, { filter: { kinds: many(33, () => 'k'), capabilities: [''] } }),
      ['filter.capabilities[0]', 'filter.kinds'],
    ],
    ['cursor', fieldsOf(WatchAgentsRequestSchema, { cursor: 'x' }), ['cursor']],
    [
      'cursor of another namespace',
      fieldsOf(WatchEventsRequestSchema, {
        namespace: 'b',
        cursor: encodeCursor({ namespace: 'a', epoch: 1n, revision: 1n }),
      }),
      ['cursor'],
    ],
    [
      'short interval',
      fieldsOf(WatchAgentsRequestSchema, { sampleInterval: { nanos: 1 } }),
      ['sample_interval'],
    ],
    [
      'long interval',
      fieldsOf(WatchSystemStatusRequestSchema, { minInterval: { seconds: 3601n } }),
      ['min_interval'],
    ],
    ['update of nothing', fieldsOf(UpdateAgentRequestSchema, {}), ['agent_id', 'spec', 'update_mask']],
    [
      'empty mask',
      fieldsOf(UpdateAgentRequestSchema, { agentId: 'a', spec: {}, updateMask: {} }),
      ['update_mask.paths'],
    ],
    [
      'mask',
      fieldsOf(UpdateAgentRequestSchema, {
        agentId: 'a',
        spec: {},
        updateMask: { paths: ['kind', 'phase', 'labels.'] },
      }),
      ['update_mask.paths[1]', 'update_mask.paths[2]'],
    ],
    [
      'mask of all and some',
      fieldsOf(UpdateAgentRequestSchema, { agentId: 'a', spec: {}, updateMask: { paths: ['*', 'kind'] } }),
      ['update_mask.paths'],
    ],
    [
      '65 paths',
      fieldsOf(UpdateAgentRequestSchema, {
        agentId: 'a',
        spec: {},
        updateMask: { paths: many(65, () => 'kind') },
      }),
      ['update_mask.paths'],
    ],
    [
      'expected revision',
      fieldsOf(DeregisterAgentRequestSchema, { agentId: 'a', expectedRevision: -5n }),
      ['expected_revision'],
    ],
    [
      'reason',
      fieldsOf(DeregisterAgentRequestSchema, { agentId: 'a', reason: 'x'.repeat(1025) }),
      ['reason'],
    ],
    [
      'event types',
      fieldsOf(ListEventsRequestSchema, { filter: { types: ['a.*', 'a*', '', 'A', '*.a', 'a..b'] } }),
      [1, 2, 3, 4, 5].map((i) => `filter.types[${i}]`),
    ],
    [
      'severity',
      fieldsOf(ListEventsRequestSchema, { filter: { minSeverity: 4 as never } }),
      ['filter.min_severity'],
    ],
    [
      'timestamps',
      fieldsOf(ListEventsRequestSchema, {
        filter: { startTime: { seconds: 253_402_300_800n }, endTime: { seconds: -62_135_596_801n } },
      }),
      ['filter.start_time', 'filter.end_time', 'filter.end_time'],
    ],
    [
      'empty range',
      fieldsOf(ListEventsRequestSchema, { filter: { startTime: { seconds: 5n }, endTime: { seconds: 5n } } }),
      ['filter.end_time'],
    ],
    ['257 frames', fieldsOf(PollSessionRequestSchema, { frames: many(257, () => ({})) }), ['frames']],
    [
      'frames',
      fieldsOf(PollSessionRequestSchema, {
        frames: [{}, { frameId: ' ', frame: { case: 'leave', value: { reason: '\0' } } }],
        wait: { seconds: 61n },
      }),
      ['frames[1].frame_id', 'frames[1].leave.reason', 'wait'],
    ],
    ['negative wait', fieldsOf(PollSessionRequestSchema, { wait: { nanos: -1 } }), ['wait']],
  ])('%s', (_, violated, expected) => {
    expect(violated).toEqual(expected);
  });
});

test('every violated field is named at once, and none of the others', () => {
  const faults: [string, (request: ReturnType<typeof sound>) => void][] = [
    ['namespace', (r) => (r.namespace = 'Not')],
    ['agent_id', (r) => (r.agentId = '?')],
    ['spec.display_name', (r) => (r.spec.displayName = '\0')],
    ['spec.kind', (r) => (r.spec.kind = ' ')],
    ['spec.version', (r) => (r.spec.version = 'v'.repeat(65))],
    [
      'spec.capabilities[1].name',
      (r) => (r.spec.capabilities[1] = { ...r.spec.capabilities[1], name: '' } as never),
    ],
    ['spec.labels["bad key"]', (r) => (r.spec.labels['bad key'] = '')],
    ['spec.annotations["/"]', (r) => (r.spec.annotations['/'] = '')],
    ['spec.capacity["cpu_milli"]', (r) => (r.spec.capacity.cpu_milli = -4n)],
    ['spec.forget_after', (r) => (r.spec.forgetAfter = { ...r.spec.forgetAfter, seconds: 0n } as never)],
    ['request_id', (r) => (r.requestId = ' ')],
  ];
  function sound() {
    const request = create(RegisterAgentRequestSchema, structuredClone(full));
    if (request.spec === undefined) throw new Error('the sample has a spec');
    return { ...request, spec: request.spec };
  }
  fc.assert(
    fc.property(fc.subarray(faults), (chosen) => {
      const request = sound();
      for (const [, spoil] of chosen) spoil(request);
      expect(validateRequest(request).map(({ field }) => field)).toEqual(chosen.map(([field]) => field));
    }),
  );
});
