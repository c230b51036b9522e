import { describe, expect, it, vi } from 'vitest';
import { FairShare } from '../../../../src/domain/coordination/tasks/fair-share.ts';
import { Line } from '../../../../src/domain/coordination/tasks/line.ts';
import { RoomEvents } from '../../../../src/domain/coordination/tasks/room-events.ts';
import { Turns } from '../../../../src/domain/coordination/tasks/turns.ts';
import { type Group, type Lane, Waiting } from '../../../../src/domain/coordination/tasks/waiting.ts';
import type { WantClass } from '../../../../src/domain/resource/pool/want-class.ts';
import { itemOf } from './waiting-items.ts';

/** Each capability is a class of its own. */
function newWaiting(): Waiting {
  const classes = new Map<string, WantClass>();
  const classOf = ({ capability }: { capability: string }): WantClass => {
    const known = classes.get(capability) ?? ({ key: capability } as WantClass);
    classes.set(capability, known);
    return known;
  };
  return new Waiting({ pool: { classOf, release: () => {} } });
}

function stand(waiting: Waiting, ...item: Parameters<typeof itemOf>): Lane {
  const lane = waiting.put(itemOf(...item), 0);
  if (lane === undefined) throw new Error('it stands apart');
  return lane;
}

describe('the turns of owners', () => {
  it('go by their clocks, whose who are over their soft limits last, and by what comes first of one owner', () => {
    const waiting = newWaiting();
    const shares = new FairShare();
    const over = new Set(['o0']);
    const turns = new Turns({ clock: (owner) => shares.clock(owner), overSoft: (owner) => over.has(owner) });
    const served = new Map<string, number>();
    for (let at = 0; at < 400; at += 1) turns.add(stand(waiting, `t${at}`, at, { owner: `o${at}` }));
    const urgent = { owner: 'o7', rank: -5, want: { capability: 'b', placement: undefined, resources: {} } };
    const lane = stand(waiting, 'urgent', 500, urgent);
    turns.add(lane);
    const next = (): string => {
      const owner = turns.next()?.owner ?? '';
      shares.charge(owner, 1, 1);
      served.set(owner, (served.get(owner) ?? 0) + 1);
      return owner;
    };
    for (let round = 0; round < 399 * 3; round += 1) next();
    expect(new Set(served.values())).toEqual(new Set([3]));
    expect(served.has('o0')).toBe(false);
    over.clear();
    expect(next()).toBe('o0');
    while (turns.next()?.owner !== 'o7') next();
    expect(turns.next()).toBe(lane);
  });

  it('pass over what is blocked, and are over when all is', () => {
    const waiting = newWaiting();
    const turns = new Turns({ clock: () => 0, overSoft: () => false });
    const [a, b] = [stand(waiting, 'a', 1, { owner: 'a' }), stand(waiting, 'b', 2, { owner: 'b' })];
    turns.add(a);
    turns.add(b);
    a.quotaBlocked = true;
    expect(turns.next()).toBe(b);
    b.heldBack = true;
    expect(turns.next()).toBeUndefined();
    expect(turns.isEmpty).toBe(true);
  });
});

describe('room on an agent', () => {
  it('is taken up in slices, each group asked once', () => {
    const waiting = newWaiting();
    const groups: Group[] = [];
    for (let at = 0; at < 1000; at += 1) {
      const want = { capability: 'sum', placement: undefined, resources: {} };
      const wanted = { key: `${at}` } as WantClass;
      const apart = new Waiting({ pool: { classOf: () => wanted, release: () => {} } });
      stand(apart, `t${at}`, at, { want });
      for (const group of apart.groups()) Object.assign(group, { roomBlocked: true });
      groups.push(...apart.groups());
    }
    const fits = vi.fn(() => true);
    const unblocked: Group[] = [];
    const room = new RoomEvents({
      waiting: Object.assign(waiting, { groupsFor: (name: string) => (name === 'sum' ? groups : []) }),
      pool: { agent: () => ({ capabilities: [{ name: 'sum', version: '' }] }) as never, fits },
      unblock: (group) => {
        group.roomBlocked = false;
        unblocked.push(group);
      },
      *resumeRefused() {},
    });
    room.add('a1');
    room.add('a2');
    let steps = 0;
    const isLate = (): boolean => {
      steps += 1;
      return steps % 100 === 0;
    };
    let slices = 1;
    while (!room.take(isLate)) slices += 1;
    expect(slices).toBeGreaterThanOrEqual(10);
    expect(unblocked).toHaveLength(1000);
    expect(fits).toHaveBeenCalledTimes(1000);
    expect(room.isEmpty).toBe(true);
  });
});
describe('an ordering key', () => {
  it('is left without a walk along its line', () => {
    const walk = vi.spyOn(Line.prototype, Symbol.iterator);
    const waiting = newWaiting();
    for (let at = 0; at < 100; at += 1) waiting.put(itemOf(`t${at}`, at, { orderingKey: 'k' }), 0);
    for (let at = 99; at > 0; at -= 1) waiting.remove(`task/t${at}`);
    expect(walk).not.toHaveBeenCalled();
    expect(waiting.keyHolder(itemOf('other', 500, { orderingKey: 'k' }))).toBe('task/t0');
    walk.mockRestore();
  });
});
