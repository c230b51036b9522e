import type { Item } from '../../../../src/domain/coordination/tasks/waiting.ts';

/** Something that waits, in its place by order of submission. */
export function itemOf(id: string, place: number, more: Partial<Item> = {}): Item {
  const owner = more.owner ?? '';
  return {
    ...{ key: `task/${id}`, kind: 'task', id, owner, orderingKey: '', sinceMs: 0, notBeforeMs: 0 },
    want: { capability: 'sum', placement: undefined, resources: {} },
    hold: { owner, resources: {}, tasks: 1, budgets: {} },
    ...{ refusals: new Map(), rank: 0, order: [BigInt(place), 0] },
    ...more,
  };
}
