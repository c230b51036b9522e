import { describe, expect, it } from 'vitest';
import { comesBefore, Line, type Placed } from '../../../../src/domain/coordination/tasks/line.ts';
import { seededRandom } from '../../../support/fake-clock.ts';

const sorted = (items: readonly Placed[]): Placed[] =>
  [...items].sort((a, b) => (comesBefore(a, b) ? -1 : comesBefore(b, a) ? 1 : 0));

describe('a line', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'holds the same as a sorted array, whatever is put and taken (seed %d)',
    (seed) => {
      const random = seededRandom(seed);
      const line = new Line<Placed>();
      let model: Placed[] = [];
      let revision = 0n;
      // Some seeds mostly append and take from the beginning, some take from anywhere.
      const fromFront = seed % 2 === 0 ? 0.9 : 0.2;
      for (let step = 0; step < 4000; step += 1) {
        const grows = step % 1000 < 600 ? 0.6 : 0.35;
        if (model.length === 0 || random() < grows) {
          revision += 1n;
          const rank = random() < 0.7 ? step : Math.floor(random() * step);
          const item: Placed = { rank, order: [revision, Math.floor(random() * 3)] };
          line.put(item);
          model = sorted([...model, item]);
        } else {
          const at = random() < fromFront ? 0 : Math.floor(random() * model.length);
          const [item] = model.splice(at, 1);
          if (item !== undefined) expect(line.remove(item)).toBe(true);
          if (item !== undefined && random() < 0.1) expect(line.remove(item)).toBe(false);
        }
        expect(line.size).toBe(model.length);
        expect(line.first()).toBe(model[0]);
        if (step % 97 === 0) expect([...line]).toEqual(model);
      }
      expect([...line]).toEqual(model);
    },
  );

  it('keeps equals in the order of their submission, also within one commit', () => {
    const line = new Line<Placed & { id: string }>();
    const put = (id: string, revision: bigint, index: number) =>
      line.put({ id, rank: 1, order: [revision, index] });
    put('c', 2n, 0);
    put('b', 1n, 1);
    put('a', 1n, 0);
    expect([...line].map(({ id }) => id)).toEqual(['a', 'b', 'c']);
  });
});
