import { expect, test } from 'vitest';
import { KeyedPart } from '../../web/src/store/keyed-part.ts';

interface Thing {
  id: string;
  over: boolean;
}

const part = () => new KeyedPart<Thing>({ is: ({ over }) => over, most: 3 });
const thing = (id: number, over = true): Thing => ({ id: String(id), over });
const ids = (of: KeyedPart<Thing>) => [...of.values()].map(({ id }) => id);

test('of what is over only the last are kept, and all that is not', () => {
  const things = part();
  things.take(
    [0, 1, 2, 3, 4].map((id) => thing(id, false)),
    [],
    true,
  );
  expect(things.size).toBe(5);
  for (const id of [4, 0, 1, 2]) things.take([thing(id)], [], false);
  expect(ids(things)).toEqual(['0', '1', '2', '3']);
  things.take(
    Array.from({ length: 10_000 }, (_, index) => thing(10 + index)),
    [],
    false,
  );
  expect(ids(things)).toEqual(['3', '10007', '10008', '10009']);
});

test('what begins again counts no longer as over, nor does what was taken away', () => {
  const things = part();
  things.take([thing(1), thing(2), thing(3)], [], true);
  things.take([thing(1, false)], ['2'], false);
  things.take([thing(4), thing(5)], [], false);
  expect(ids(things)).toEqual(['1', '3', '4', '5']);
  things.begin();
  things.take([thing(1, false)], [], true);
  things.take([thing(6), thing(7), thing(8)], [], false);
  expect(ids(things)).toEqual(['1', '6', '7', '8']);
});
