import { beforeEach, describe, expect, it } from 'vitest';
import { type Item, Waiting } from '../../../../src/domain/coordination/tasks/waiting.ts';
import type { WantClass } from '../../../../src/domain/resource/pool/want-class.ts';

const wanted = {} as WantClass;
let waiting: Waiting;

function item(id: string, place: number, more: Partial<Item> = {}): Item {
  return {
    ...{ key: `task/${id}`, kind: 'task', id, owner: '', orderingKey: 'k', sinceMs: 0, notBeforeMs: 0 },
    want: { capability: 'sum', placement: undefined, resources: {} },
    hold: { owner: '', resources: {}, tasks: 1, budgets: {} },
    ...{ refusals: new Map(), rank: 0, order: [BigInt(place), 0] },
    ...more,
  };
}

/** Those whose turn it is. */
const inLine = (): string[] => waiting.lanes().flatMap(({ line }) => [...line].map(({ id }) => id));

beforeEach(() => {
  waiting = new Waiting({ pool: { classOf: () => wanted, release: () => {} } });
});

describe('of the tasks of one ordering key', () => {
  it('the first in order of submission stands in line alone, in whatever order they are known', () => {
    waiting.put(item('late', 3), 0);
    waiting.put(item('early', 1), 0);
    waiting.put(item('middle', 2), 0);
    expect(inLine()).toEqual(['early']);
  });

  it('a later one waits although it is more urgent, and while the first waits for its own time', () => {
    waiting.put(item('late', 2, { rank: -1000 }), 0);
    waiting.put(item('early', 1, { notBeforeMs: 50 }), 0);
    expect(inLine()).toEqual([]);
    waiting.unpark(60);
    expect(inLine()).toEqual(['early']);
  });

  it('the next stands in line once the first has ended, and not while an agent has it', () => {
    waiting.put(item('early', 1), 0);
    waiting.put(item('late', 2), 0);
    waiting.remove('task/early');
    waiting.setLive('k', 'task/early', true, 0);
    expect(inLine()).toEqual([]);
    waiting.setLive('k', 'task/early', false, 0);
    expect(inLine()).toEqual(['late']);
  });

  it('one that failed comes again before a later one that was about to have its turn', () => {
    waiting.put(item('late', 2), 0);
    expect(inLine()).toEqual(['late']);
    waiting.put(item('early', 1), 0);
    expect(inLine()).toEqual(['early']);
    expect(waiting.keyHolder(item('late', 2))).toBe('task/early');
  });
});
