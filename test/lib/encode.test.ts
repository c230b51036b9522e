import {
  create,
  type DescField,
  type DescFile,
  type DescMessage,
  fromBinary,
  type Message,
  ScalarType,
  toBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, file_google_protobuf_struct, ValueSchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { file_mycosoft_orchestrator_agent_v1_agent } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { file_mycosoft_orchestrator_agent_v1_agent_service } from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  file_mycosoft_orchestrator_agent_v1_session_service,
  OpenSessionResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { file_mycosoft_orchestrator_coordination_v1_message_service } from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { file_mycosoft_orchestrator_coordination_v1_task_service } from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  EventSchema,
  file_mycosoft_orchestrator_monitoring_v1_monitoring_service,
} from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { file_mycosoft_orchestrator_resource_v1_resource_service } from '../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { file_mycosoft_orchestrator_store_v1_records } from '../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../src/lib/encode.ts';
import { seeded } from '../support/faults/random.ts';

const FILES: DescFile[] = [
  file_mycosoft_orchestrator_agent_v1_agent,
  file_mycosoft_orchestrator_agent_v1_agent_service,
  file_mycosoft_orchestrator_agent_v1_session_service,
  file_mycosoft_orchestrator_coordination_v1_message_service,
  file_mycosoft_orchestrator_coordination_v1_task_service,
  file_mycosoft_orchestrator_monitoring_v1_monitoring_service,
  file_mycosoft_orchestrator_resource_v1_resource_service,
  file_mycosoft_orchestrator_store_v1_records,
  file_google_protobuf_struct,
];
const MESSAGES = FILES.flatMap((file) =>
  file.messages.flatMap((each) => [each, ...each.nestedMessages]),
).filter(({ typeName }) => !/Entry$/.test(typeName));

type Random = () => number;
const pick = <T>(random: Random, ...of: T[]): T => of[Math.floor(random() * of.length)] as T;
const TEXTS = [
  '',
  'a',
  'agent-7',
  'x'.repeat(31),
  'y'.repeat(32),
  'é'.repeat(20),
  '日本語 😀',
  'z'.repeat(127),
  'z'.repeat(128),
  'w'.repeat(20_000),
];

function scalar(random: Random, type: ScalarType): unknown {
  switch (type) {
    case ScalarType.STRING:
      return pick(random, ...TEXTS);
    case ScalarType.BYTES:
      return new Uint8Array(pick(random, 0, 1, 127, 128, 300, 70_000)).fill(7);
    case ScalarType.BOOL:
      return random() < 0.5;
    case ScalarType.INT32:
      return pick(random, 0, 1, -1, 127, 128, 2 ** 31 - 1, -(2 ** 31));
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return pick(random, 0, 1, 127, 128, 16_384, 2 ** 32 - 1);
    case ScalarType.INT64:
      return pick(random, 0n, 1n, -1n, 128n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n));
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return pick(random, 0n, 1n, 127n, 2n ** 32n, 2n ** 53n, 2n ** 64n - 1n);
    default:
      return pick(random, 0, -0, 1.5, -2.25, Number.NaN, Number.POSITIVE_INFINITY, 1e300);
  }
}

/** Something for most fields, and nothing for the rest. */
function anything(random: Random, desc: DescMessage, depth: number): Message {
  const message = create(desc) as Message & Record<string, unknown>;
  const chosen = new Map(desc.oneofs.map((group) => [group, pick(random, undefined, ...group.fields)]));
  const value = (field: DescField): unknown => {
    const kind =
      field.fieldKind === 'list'
        ? field.listKind
        : field.fieldKind === 'map'
          ? field.mapKind
          : field.fieldKind;
    if (kind === 'message') return anything(random, field.message as DescMessage, depth - 1);
    if (kind === 'enum') return pick(random, 0, 1, 2, 300);
    return scalar(random, (field as { scalar: ScalarType }).scalar);
  };
  for (const field of desc.fields) {
    const holds = field.message !== undefined;
    if ((holds && depth <= 0) || random() < 0.25) continue;
    const many = () => Array.from({ length: pick(random, 0, 1, 3) }, () => value(field));
    if (field.oneof !== undefined) {
      if (chosen.get(field.oneof) === field) {
        message[field.oneof.localName] = { case: field.localName, value: value(field) };
      }
    } else if (field.fieldKind === 'list') message[field.localName] = many();
    else if (field.fieldKind === 'map') {
      message[field.localName] = Object.fromEntries(
        many().map((each, at) => [`${pick(random, ...TEXTS)}${at}`, each]),
      );
    } else message[field.localName] = value(field);
  }
  return message;
}

describe('encode', () => {
  it('has the same bytes as toBinary, whatever is in a message of whatever type', () => {
    expect(MESSAGES.length).toBeGreaterThan(150);
    const { next: random } = seeded(20_261_122);
    for (const desc of MESSAGES) {
      for (let round = 0; round < 6; round += 1) {
        const message = anything(random, desc, 3);
        const expected = Buffer.from(toBinary(desc, message));
        const encoded = Buffer.from(encode(desc, message));
        if (!encoded.equals(expected))
          expect(encoded.toString('hex'), desc.typeName).toBe(expected.toString('hex'));
      }
    }
  });

  it('keeps fields that this version does not know', () => {
    const later = Buffer.concat([
      Buffer.from(toBinary(EventSchema, create(EventSchema, { type: 'task.failed' }))),
      // Field 1000: text; field 1001: a number; field 1002: eight bytes.
      Buffer.from([0xc2, 0x3e, 0x02, 0x68, 0x69, 0xc8, 0x3e, 0x2a, 0xd1, 0x3e, 1, 2, 3, 4, 5, 6, 7, 8]),
    ]);
    expect(Buffer.from(encode(EventSchema, fromBinary(EventSchema, later))).equals(later)).toBe(true);
  });

  it('writes JSON values of any depth', () => {
    const value = {
      kind: { case: 'structValue' as const, value: { fields: {} as Record<string, unknown> } },
    };
    let inner = value;
    for (let depth = 0; depth < 30; depth += 1) {
      const next = { kind: { case: 'structValue' as const, value: { fields: {} } } };
      inner.kind.value.fields = { next };
      inner = next;
    }
    const message = create(ValueSchema, value as never);
    expect(
      Buffer.from(encode(ValueSchema, message)).equals(Buffer.from(toBinary(ValueSchema, message))),
    ).toBe(true);
  });

  it('leaves messages of the older protobuf languages to toBinary: descriptors', () => {
    const { proto } = file_mycosoft_orchestrator_store_v1_records;
    const expected = Buffer.from(toBinary(FileDescriptorProtoSchema, proto));
    expect(Buffer.from(encode(FileDescriptorProtoSchema, proto)).equals(expected)).toBe(true);
  });

  it('gives bytes that later calls leave alone', () => {
    const frame = (detail: string) =>
      create(OpenSessionResponseSchema, { frame: { case: 'result', value: { frameId: 'f', detail } } });
    const first = encode(OpenSessionResponseSchema, frame('one'));
    const copy = Buffer.from(first);
    encode(OpenSessionResponseSchema, frame('two'.repeat(100_000)));
    expect(Buffer.from(first).equals(copy)).toBe(true);
  });

  it('replaces halves of characters instead of failing: texts are cut to a length here and there', () => {
    const cut = '😀😀'.slice(0, 3);
    const event = fromBinary(EventSchema, encode(EventSchema, create(EventSchema, { message: cut })));
    expect(event.message).toBe('😀\ufffd');
  });
});
