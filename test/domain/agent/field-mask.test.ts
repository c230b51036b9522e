import { clone, create, equals, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AgentSpecSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { applySpecMask, maskPathFault } from '../../../src/domain/agent/field-mask.ts';

type Spec = MessageInitShape<typeof AgentSpecSchema>;

const current: Spec = {
  displayName: 'Old',
  kind: 'worker',
  version: '1',
  labels: { tier: 'web', 'example.com/zone.a': 'x', constructor: 'kept' },
  capabilities: [{ name: 'read' }],
  capacity: { slots: 4n },
  forgetAfter: { seconds: 60n },
};

function apply(update: Spec, paths: string[]) {
  return applySpecMask(create(AgentSpecSchema, current), create(AgentSpecSchema, update), paths);
}

describe('an update', () => {
  test.each<[string[], Spec, Spec]>([
    [[], { displayName: 'New' }, current],
    [['display_name'], { displayName: 'New', kind: 'ignored' }, { ...current, displayName: 'New' }],
    [['display_name', 'kind'], {}, { ...current, displayName: '', kind: '' }],
    [
      ['capabilities'],
      { capabilities: [{ name: 'a' }, { name: 'b' }] },
      { ...current, capabilities: [{ name: 'a' }, { name: 'b' }] },
    ],
    [['capabilities'], {}, { ...current, capabilities: [] }],
    [['labels'], { labels: { only: 'this' } }, { ...current, labels: { only: 'this' } }],
    [
      ['labels.tier'],
      { labels: { tier: 'db', other: 'ignored' } },
      { ...current, labels: { ...current.labels, tier: 'db' } },
    ],
    [['labels.new'], { labels: { new: '' } }, { ...current, labels: { ...current.labels, new: '' } }],
    [['labels.tier'], {}, { ...current, labels: { 'example.com/zone.a': 'x', constructor: 'kept' } }],
    [
      ['labels.example.com/zone.a'],
      { labels: { 'example.com/zone.a': 'y' } },
      { ...current, labels: { ...current.labels, 'example.com/zone.a': 'y' } },
    ],
    [['labels.toString'], {}, current],
    [['labels.constructor'], {}, { ...current, labels: { tier: 'web', 'example.com/zone.a': 'x' } }],
    [
      ['capacity.slots', 'capacity.cpu_milli'],
      { capacity: { cpu_milli: 500n } },
      { ...current, capacity: { cpu_milli: 500n } },
    ],
    [['forget_after'], { forgetAfter: { seconds: 9n } }, { ...current, forgetAfter: { seconds: 9n } }],
    [['*'], { kind: 'all new' }, { kind: 'all new' }],
    [['labels', 'labels.tier'], { labels: { tier: 'db' } }, { ...current, labels: { tier: 'db' } }],
  ])('of %o with %o', (paths, update, expected) => {
    const result = apply(update, paths);
    expect(equals(AgentSpecSchema, result, create(AgentSpecSchema, expected))).toBe(true);
  });

  test('clears a message field so that it is absent', () => {
    const result = apply({}, ['forget_after']);
    expect(Object.hasOwn(result, 'forgetAfter')).toBe(false);
    expect(toBinary(AgentSpecSchema, result).length).toBeGreaterThan(0);
  });

  test('leaves both sides as they were and shares nothing with them', () => {
    const from = create(AgentSpecSchema, current);
    const update = create(AgentSpecSchema, { labels: { a: 'b' }, capabilities: [{ name: 'x' }] });
    const before = [clone(AgentSpecSchema, from), clone(AgentSpecSchema, update)];
    for (const paths of [['labels', 'capabilities'], ['labels.a'], ['*'], []]) {
      const result = applySpecMask(from, update, paths);
      result.labels.mine = 'now';
      for (const capability of result.capabilities) capability.name = 'changed';
    }
    expect([from, update]).toEqual(before);
  });

  test('keeps fields that a newer version wrote', () => {
    const from = create(AgentSpecSchema, current);
    from.$unknown = [{ no: 1000, wireType: 0, data: new Uint8Array([7]) }];
    const result = applySpecMask(from, create(AgentSpecSchema), ['kind']);
    expect(result.$unknown).toEqual(from.$unknown);
  });

  test('repeated with the same mask changes nothing more', () => {
    const names = AgentSpecSchema.fields.map((field) => field.name);
    const path = fc.constantFrom(...names, 'labels.tier', 'annotations.x', '*');
    fc.assert(
      fc.property(fc.array(path, { maxLength: 6 }), (paths) => {
        const update = create(AgentSpecSchema, { kind: 'new', labels: { tier: 'x' } });
        const once = applySpecMask(create(AgentSpecSchema, current), update, paths);
        expect(equals(AgentSpecSchema, applySpecMask(once, update, paths), once)).toBe(true);
      }),
    );
  });
});

describe('a path', () => {
  test.each([
    '*',
    ...AgentSpecSchema.fields.map((field) => field.name),
    'labels.a',
    'annotations.example.com/a.b',
    'capacity.cpu/x',
  ])('%s is fine', (path) => expect(maskPathFault(path)).toBeUndefined());

  test.each([
    '',
    '.',
    'displayName',
    'spec',
    'spec.labels',
    'labels.',
    'labels.-a',
    'labels.__proto__',
    'annotations.a/b/c',
    'capabilities.name',
    'forget_after.seconds',
    '**',
    'constructor',
    '__proto__',
    `labels.${'a'.repeat(318)}`,
  ])('%j is not', (path) => expect(maskPathFault(path)).toEqual(expect.any(String)));

  test('is never taken for something else, whatever comes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (path) => {
        if (maskPathFault(path) === undefined) apply({}, [path]);
      }),
    );
  });
});
