import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SlotIndex } from '../../../../src/domain/resource/pool/slot-index.ts';

test('answers as a map does, while many slots come and go near and far', () => {
  const one = fc.record({
    slot: fc.oneof(fc.nat({ max: 40 }), fc.nat({ max: 2000 })),
    // A run of neighbours makes it dense, and taking them away makes it sparse.
    run: fc.constantFrom(1, 1, 20, 300),
    gone: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(one, { minLength: 1, maxLength: 30 }), (steps) => {
      const index = new SlotIndex();
      const model = new Map<number, number>();
      for (const [row, { slot, run, gone }] of steps.entries()) {
        for (let at = slot; at < slot + run; at++) {
          index.set(at, gone ? -1 : row);
          if (gone) model.delete(at);
          else model.set(at, row);
        }
      }
      for (let slot = 0; slot < 2400; slot++) {
        if (index.get(slot) !== (model.get(slot) ?? -1)) {
          expect([slot, index.get(slot)]).toEqual([slot, model.get(slot) ?? -1]);
        }
      }
    }),
    { numRuns: 500, seed: 20261122 },
  );
});
