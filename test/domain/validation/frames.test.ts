import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { Value } from '@bufbuild/protobuf/wkt';
import { describe, expect, test } from 'vitest';
import {
  type HeartbeatSchema,
  OpenSessionRequestSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { validateFrame } from '../../../src/domain/validation/frames.ts';

type Frame = MessageInitShape<typeof OpenSessionRequestSchema>['frame'];
type Heartbeat = MessageInitShape<typeof HeartbeatSchema>;

function fieldsOf(frame: Frame, frameId = ''): string[] {
  const request = create(OpenSessionRequestSchema, frame === undefined ? { frameId } : { frameId, frame });
  return validateFrame(request).map(({ field }) => field);
}
const many = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));
const entries = <V>(count: number, value: V) => Object.fromEntries(many(count, (i) => [`k${i}`, value]));
/** A message with extensions of such lengths; their names have two characters. */
const extended = (...lengths: number[]) => ({
  ...{ id: '1', type: 't' },
  extensions: Object.fromEntries(lengths.map((length, i) => [`k${i}`, 'x'.repeat(length)])),
});

describe('a heartbeat', () => {
  test.each<[string, Heartbeat, string[]]>([
    ['unprompted', {}, []],
    ['with the largest echo', { echo: 2n ** 64n - 1n }, []],
    ['held', { held: { nanos: 5_000_000 } }, []],
    ['held below zero', { held: { nanos: -1 } }, ['held']],
    ['held for two days', { held: { seconds: 172_800n } }, ['held']],
    ['of a clock in year 1', { agentTime: { seconds: -62_135_596_800n } }, []],
    ['of a clock in 9999', { agentTime: { seconds: 253_402_300_799n, nanos: 999_999_999 } }, []],
    ['of a clock at zero', { agentTime: {} }, []],
    ['of an impossible time', { agentTime: { seconds: 2n ** 63n - 1n } }, ['agent_time']],
    ['of impossible nanos', { agentTime: { nanos: -1 } }, ['agent_time']],
    [
      'with a report',
      {
        report: {
          activity: 'a',
          load: 0.5,
          usage: { slots: 0n },
          progress: [{ name: 'n', done: 1n }],
          configHash: 'sha256:ab',
        },
      },
      [],
    ],
    ['with an empty report', { report: {} }, []],
    ['overloaded', { report: { load: 17 } }, []],
    ['load below zero', { report: { load: -0.01 } }, ['report.load']],
    ['load NaN', { report: { load: Number.NaN } }, ['report.load']],
    ['load infinite', { report: { load: Number.POSITIVE_INFINITY } }, ['report.load']],
    ['activity', { report: { activity: 'a b' } }, ['report.activity']],
    [
      'usage',
      { report: { usage: { slots: -1n, 'a b': 1n } } },
      ['report.usage["slots"]', 'report.usage["a b"]'],
    ],
    ['64 usages', { report: { usage: entries(64, 1n) } }, []],
    ['65 usages', { report: { usage: entries(65, 1n) } }, ['report.usage']],
    ['257 counters', { report: { progress: many(257, (i) => ({ name: `p${i}` })) } }, ['report.progress']],
    ['nameless counter', { report: { progress: [{ done: 1n }] } }, ['report.progress[0].name']],
    ['counter of a delivery', { report: { progress: [{ work: { deliveryId: 'd', attempt: 1n } }] } }, []],
    [
      'counter of no delivery',
      { report: { progress: [{ work: {} }] } },
      ['report.progress[0].work.delivery_id'],
    ],
    ['config hash', { report: { configHash: 'h'.repeat(129) } }, ['report.config_hash']],
  ])('%s', (_, value, violated) => {
    expect(fieldsOf({ case: 'heartbeat', value })).toEqual(violated.map((path) => `heartbeat.${path}`));
  });
});

function nested(levels: number): MessageInitShape<typeof import('@bufbuild/protobuf/wkt').ValueSchema> {
  let value: object = { kind: { case: 'numberValue', value: 1 } };
  for (let level = 1; level < levels; level++)
    value = { kind: { case: 'listValue', value: { values: [value] } } };
  return value;
}
const json = (value: object): Frame => ({
  case: 'deliveryUpdate',
  value: { work: { deliveryId: 'd' }, state: 3, output: { data: { case: 'json', value: value as Value } } },
});

describe('other frames', () => {
  test.each<[string, Frame, string[]]>([
    ['a frame of no known kind', undefined, []],
    ['an empty hello', { case: 'hello', value: {} }, []],
    [
      'a full hello',
      {
        case: 'hello',
        value: {
          held: [{ deliveryId: 'd', attempt: 1n }],
          maxInFlight: 1024,
          features: ['messages/1'],
          instanceId: 'i',
          client: 'orchestrator-py/0.1 (Linux)',
          report: {},
        },
      },
      [],
    ],
    [
      'a wrong hello',
      {
        case: 'hello',
        value: {
          held: [{}],
          maxInFlight: 1025,
          features: ['', 'a b'],
          instanceId: ' ',
          client: '\n',
          report: { load: -1 },
        },
      },
      [
        'hello.held[0].delivery_id',
        'hello.max_in_flight',
        'hello.features[0]',
        'hello.features[1]',
        'hello.instance_id',
        'hello.client',
        'hello.report.load',
      ],
    ],
    [
      'a hello that holds too much',
      {
        case: 'hello',
        value: { held: many(1025, () => ({ deliveryId: 'd' })), features: many(33, () => 'f') },
      },
      ['hello.held', 'hello.features'],
    ],
    [
      'an outcome',
      {
        case: 'deliveryUpdate',
        value: {
          work: { deliveryId: 'd' },
          state: 3,
          output: { contentType: 'text/plain', data: { case: 'text', value: 'done\0' } },
          spent: { tokens: 5n },
        },
      },
      [],
    ],
    [
      'an empty outcome',
      { case: 'deliveryUpdate', value: {} },
      ['delivery_update.work', 'delivery_update.state'],
    ],
    [
      'an unknown outcome',
      { case: 'deliveryUpdate', value: { work: { deliveryId: 'd' }, state: 5 as never } },
      ['delivery_update.state'],
    ],
    [
      'a failure with output',
      {
        case: 'deliveryUpdate',
        value: {
          work: { deliveryId: 'd' },
          state: 4,
          error: 'x'.repeat(4097),
          output: { contentType: 'x' },
          spent: { a: -1n },
        },
      },
      [
        'delivery_update.output.content_type',
        'delivery_update.error',
        'delivery_update.spent["a"]',
        'delivery_update.output',
      ],
    ],
    ['JSON of 32 levels', json(nested(32)), []],
    ['JSON of 33 levels', json(nested(33)), ['delivery_update.output.json']],
    ['JSON without a kind', json({}), ['delivery_update.output.json']],
    [
      'JSON with NaN',
      json({
        kind: {
          case: 'structValue',
          value: { fields: { a: { kind: { case: 'numberValue', value: Number.NaN } } } },
        },
      }),
      ['delivery_update.output.json'],
    ],
    [
      'a message',
      {
        case: 'send',
        value: {
          message: { id: '1', source: 'a', type: 'note', subject: 's', extensions: { partitionkey: 'x' } },
          to: { case: 'topic', value: 'a.b' },
        },
      },
      [],
    ],
    [
      'a wrong message',
      { case: 'send', value: { message: { source: ' ', subject: '\0', extensions: { Key: '' } } } },
      [
        'send.message.id',
        'send.message.source',
        'send.message.type',
        'send.message.subject',
        'send.message.extensions["Key"]',
        'send.agent_id',
      ],
    ],
    [
      'a message for nobody that can be',
      { case: 'send', value: { message: { id: '1', type: 't' }, to: { case: 'topic', value: 'a..b' } } },
      ['send.topic'],
    ],
    [
      'a message with too much data, which has expired at no time',
      {
        case: 'send',
        value: {
          message: {
            id: '1',
            type: 't',
            data: { data: { case: 'text', value: 'x'.repeat(65_537) } },
            extensions: { expirytime: 'soon' },
          },
          to: { case: 'selector', value: '' },
        },
      },
      ['send.selector', 'send.message', 'send.message'],
    ],
    [
      'a message that expires at a time of another format',
      {
        case: 'send',
        value: {
          message: { id: '1', type: 't', extensions: { expirytime: '+020000-01-01T00:00:00Z' } },
          to: { case: 'topic', value: 'a' },
        },
      },
      ['send.message'],
    ],
    [
      'a message with extensions of 4 KiB altogether',
      {
        case: 'send',
        value: { message: extended(1024, 1024, 1024, 1016), to: { case: 'topic', value: 'a' } },
      },
      [],
    ],
    [
      'a message with more',
      {
        case: 'send',
        value: { message: extended(1024, 1024, 1024, 1017), to: { case: 'topic', value: 'a' } },
      },
      ['send.message.extensions'],
    ],
    ['goodbye', { case: 'leave', value: { reason: 'deploy\nof v2' } }, []],
    ['a long goodbye', { case: 'leave', value: { reason: 'x'.repeat(1025) } }, ['leave.reason']],
  ])('%s', (_, frame, violated) => {
    expect(fieldsOf(frame)).toEqual(violated);
  });

  test.each<[string, string[]]>([
    ['', []],
    ['f-1', []],
    ['a b', ['frame_id']],
    ['f'.repeat(129), ['frame_id']],
  ])('frame id %j', (frameId, violated) => {
    expect(fieldsOf({ case: 'leave', value: {} }, frameId)).toEqual(violated);
  });
});

test('what one frame violated does not reach the verdict on another', () => {
  const bad = create(OpenSessionRequestSchema, {
    frame: { case: 'heartbeat', value: { held: { seconds: -1n } } },
  });
  const first = validateFrame(bad);
  expect(fieldsOf({ case: 'heartbeat', value: {} })).toEqual([]);
  expect(validateFrame(bad)).toEqual(first);
  expect(first.map(({ field }) => field)).toEqual(['heartbeat.held']);
});
