import { expect, test } from 'vitest';
import {
  add,
  amountOf,
  amountsOf,
  bigintsOf,
  int64Of,
  subtract,
  withSlots,
} from '../../../src/domain/resource/amounts.ts';

test('amounts of a proto map and back', () => {
  const map = { cpu: 5n, memory: BigInt(Number.MAX_SAFE_INTEGER), none: 0n };
  expect(bigintsOf(amountsOf(map))).toEqual(map);
  expect(amountsOf({ below: -3n, above: 2n ** 60n })).toEqual({ below: 0, above: Number.MAX_SAFE_INTEGER });
});

test('a sum that int64 cannot hold becomes the most that it can', () => {
  expect(int64Of(2 ** 63)).toBe(2n ** 63n - 1n);
  expect(int64Of(2 ** 53)).toBe(2n ** 53n);
});

test('sums and differences go name by name, and nothing falls below 0', () => {
  expect(add({ a: 1, b: 2 }, { b: 3, c: 4 })).toEqual({ a: 1, b: 5, c: 4 });
  expect(subtract({ a: 5, b: 2 }, { a: 2, b: 3, c: 9 })).toEqual({ a: 3, b: 0 });
});

test('a name that every object has is a name like others', () => {
  expect(amountOf({}, 'constructor')).toBe(0);
  expect(add({}, { constructor: 2 })).toEqual({ constructor: 2 });
  const proto = amountsOf(JSON.parse('{"__proto__": 3}'));
  expect(amountOf(add(proto, proto), '__proto__')).toBe(6);
  expect(Object.keys(bigintsOf(proto))).toEqual(['__proto__']);
});

test('slots are put in only where they are left out', () => {
  expect(withSlots({ cpu: 1 }, 1)).toEqual({ cpu: 1, slots: 1 });
  expect(withSlots({ slots: 3 }, 1)).toEqual({ slots: 3 });
  expect(withSlots({ cpu: 1 }, 0)).toEqual({ cpu: 1 });
});
