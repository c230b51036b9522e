import { describe, expect, it } from 'vitest';
import { DueTasks } from '../../../../src/domain/coordination/tasks/due-tasks.ts';
import { seededRandom } from '../../../support/fake-clock.ts';

describe('what is due', () => {
  it('comes out once, by its last time, and not before that', () => {
    const due = new DueTasks();
    due.set('moved', 10);
    due.set('moved', 30);
    due.set('back', 30);
    due.set('back', 10);
    due.set('dropped', 10);
    due.set('dropped', undefined);
    expect(due.take(9, 10)).toEqual([]);
    expect(due.take(10, 10)).toEqual(['back']);
    expect(due.take(29, 10)).toEqual([]);
    expect(due.take(30, 10)).toEqual(['moved']);
    expect(due.take(1000, 10)).toEqual([]);
  });

  it('comes out once when it was put back to a time that it had before', () => {
    const due = new DueTasks();
    for (const atMs of [10, 20, 10]) due.set('t', atMs);
    expect(due.take(10, 1)).toEqual(['t']);
    expect(due.take(1000, 10)).toEqual([]);
  });

  it('takes no more room than there are tasks, however often they are moved and dropped', () => {
    const due = new DueTasks();
    for (let at = 0; at < 10_000; at += 1) {
      due.set(`t${at}`, at + 100_000);
      due.set('moved', at);
      if (at >= 10) due.set(`t${at - 10}`, undefined);
      expect(due.places).toBeLessThan(100);
    }
    expect(due.take(100_000, 10)).toEqual(['moved']);
  });

  it('comes in the order of time, some at a time', () => {
    const random = seededRandom(3);
    const due = new DueTasks();
    const times = new Map<string, number>();
    for (let step = 0; step < 3000; step += 1) {
      const id = `t${Math.floor(random() * 500)}`;
      const atMs = random() < 0.1 ? undefined : Math.floor(random() * 10_000);
      due.set(id, atMs);
      if (atMs === undefined) times.delete(id);
      else times.set(id, atMs);
    }
    const taken: string[] = [];
    for (let some = due.take(5000, 7); some.length > 0; some = due.take(5000, 7)) {
      expect(some.length).toBeLessThanOrEqual(7);
      taken.push(...some);
    }
    const expected = [...times].filter(([, atMs]) => atMs <= 5000);
    expect(new Set(taken)).toEqual(new Set(expected.map(([id]) => id)));
    expect(taken.length).toBe(expected.length);
    const order = taken.map((id) => times.get(id) ?? 0);
    expect(order).toEqual([...order].sort((a, b) => a - b));
  });
});
