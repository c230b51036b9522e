import { describe, expect, it } from 'vitest';
import { ParentNeeds } from '../../../../src/domain/coordination/tasks/parent-needs.ts';
import { itemOf } from './waiting-items.ts';

const needsOf = (count: number): ParentNeeds => {
  const needs = new ParentNeeds();
  for (let at = count - 1; at >= 0; at -= 1) needs.add('top', itemOf(`c${at}`, at));
  return needs;
};

describe('children that wait for a budget of their parent', () => {
  it('have their turn in order, a few at a time, however many there are', () => {
    const needs = needsOf(1000);
    const taken = needs.take('top', () => true);
    expect(taken).toEqual(Array.from({ length: 16 }, (_, at) => `c${at}`));
    expect(needs.take('top', () => true)[0]).toBe('c16');
  });

  it('are passed over by those for which there is enough, as far as a bounded look goes', () => {
    let asked = 0;
    const needs = needsOf(1000);
    const isEnough = (id: string): boolean => {
      asked += 1;
      return id === 'c5' || id === 'c999';
    };
    expect(needs.take('top', isEnough)).toEqual(['c5']);
    expect(asked).toBeLessThan(300);
    expect(needs.parents()).toEqual(['top']);
  });

  it('are forgotten when they do not wait any more', () => {
    const needs = needsOf(2);
    needs.remove('c0');
    needs.remove('c1');
    expect(needs.parents()).toEqual([]);
  });
});
