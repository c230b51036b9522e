import { create, type DescField, type DescMessage, type Message, ScalarType } from '@bufbuild/protobuf';
import fc from 'fast-check';

const NASTY = [
  '',
  'a',
  '\0',
  '\ud800',
  '*',
  '../..',
  '__proto__',
  'x'.repeat(5000),
  'é'.repeat(200),
  '=',
  'a.b/c',
];

function scalar(type: ScalarType): fc.Arbitrary<unknown> {
  switch (type) {
    case ScalarType.STRING:
      return fc.oneof(fc.constantFrom(...NASTY), fc.string({ unit: 'binary', maxLength: 20 }));
    case ScalarType.BYTES:
      return fc.uint8Array({ maxLength: 20 });
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return fc.double();
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return fc.nat(0xffffffff);
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return fc.integer();
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    default:
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
  }
}

function one(field: DescField, depth: number): fc.Arbitrary<unknown> {
  if (field.message !== undefined) return fields(field.message, depth - 1);
  if (field.enum !== undefined) return fc.oneof(fc.nat(7), fc.integer());
  return scalar(field.scalar ?? ScalarType.STRING);
}

function value(field: DescField, depth: number): fc.Arbitrary<unknown> {
  if (field.fieldKind === 'list') return fc.array(one(field, depth), { maxLength: 4 });
  if (field.fieldKind === 'map') {
    const key = scalar(ScalarType.STRING) as fc.Arbitrary<string>;
    return fc.dictionary(key, one(field, depth), { maxKeys: 4, noNullPrototype: true });
  }
  return one(field, depth);
}

function fields(desc: DescMessage, depth: number): fc.Arbitrary<Record<string, unknown>> {
  if (depth <= 0) return fc.constant(create(desc) as never);
  const members: Record<string, fc.Arbitrary<unknown>> = {};
  for (const field of desc.fields) {
    if (field.oneof === undefined) members[field.localName] = value(field, depth);
  }
  for (const oneof of desc.oneofs) {
    members[oneof.localName] = fc.oneof(
      ...oneof.fields.map((field) =>
        fc.record({ case: fc.constant(field.localName), value: value(field, depth) }),
      ),
    );
  }
  return fc.record(members, { requiredKeys: [] }).map((init) => create(desc, init as never) as never);
}

/** Messages of a type with any values that the wire can carry, and some that it cannot. */
export function arbitraryMessage(desc: DescMessage): fc.Arbitrary<Message> {
  return fields(desc, 6) as fc.Arbitrary<unknown> as fc.Arbitrary<Message>;
}
