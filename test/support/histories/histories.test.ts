import { describe, expect, it } from 'vitest';
import { GuardedResource } from './guarded-resource.ts';
import { checkLock, type LockAct, type LockOp, tokensOutOfOrder } from './lock-model.ts';
import { checkRegister, type RegisterAct, type RegisterOp } from './registers.ts';

const open = Number.POSITIVE_INFINITY;
const reg = (call: number, ret: number, act: RegisterAct): RegisterOp => ({ client: 'c', call, ret, act });
const lock = (call: number, ret: number, act: LockAct): LockOp => ({ client: `c${call}`, call, ret, act });
const put = (id: string): RegisterAct => ({ kind: 'put', id });
const read = (saw: string): RegisterAct => ({ kind: 'read', saw });
const swap = (expected: string, id: string): RegisterAct => ({ kind: 'swap', expected, id });
const acquire = (token: bigint | undefined): LockAct => ({ kind: 'acquire', token, leaseMs: 1000 });
const renew = (token: bigint, ok = true): LockAct => ({ kind: 'renew', token, leaseMs: 1000, ok });
const release = (token: bigint, ok = true): LockAct => ({ kind: 'release', token, ok });

describe('the checker of histories', () => {
  it.each<[string, boolean, RegisterOp[]]>([
    ['reads follow writes', true, [reg(0, 1, put('a')), reg(2, 3, read('a'))]],
    [
      'a read during a write sees either',
      true,
      [reg(0, 9, put('a')), reg(1, 2, read('')), reg(3, 4, read('a'))],
    ],
    ['a read goes back in time', false, [reg(0, 9, put('a')), reg(1, 2, read('a')), reg(3, 4, read(''))]],
    ['a read is older than an acknowledged write', false, [reg(0, 1, put('a')), reg(2, 3, read(''))]],
    [
      'an acknowledged write is lost',
      false,
      [reg(0, 1, put('a')), reg(2, 3, put('b')), reg(4, 5, read('a'))],
    ],
    [
      'two swaps of the same value succeed',
      false,
      [reg(0, 1, put('a')), reg(2, 9, swap('a', 'b')), reg(2, 9, swap('a', 'c'))],
    ],
    [
      'a write without an answer took effect late',
      true,
      [reg(0, open, put('a')), reg(5, 6, read('')), reg(7, 8, read('a'))],
    ],
    ['a write without an answer never took effect', true, [reg(0, open, put('a')), reg(5, 6, read(''))]],
    [
      'a write without an answer takes effect twice',
      false,
      [reg(0, open, put('a')), reg(1, 2, read('a')), reg(3, 4, put('b')), reg(5, 6, read('a'))],
    ],
    [
      'a refused swap sees what it expects',
      false,
      [reg(0, 1, put('a')), reg(2, 3, { kind: 'mismatch', expected: 'a', saw: undefined })],
    ],
    [
      'a swap was refused and took effect all the same',
      false,
      [reg(0, 1, put('a')), reg(2, 3, { kind: 'mismatch', expected: '', saw: 'a' }), reg(4, 5, read('b'))],
    ],
    ['nobody wrote what was read', false, [reg(0, 1, read('x'))]],
  ])('%s: %s', (_, expected, history) => {
    expect(checkRegister(history).linearizable).toBe(expected);
  });

  it('knows what an entry may have held before', () => {
    expect(checkRegister([reg(0, 1, read('x'))], ['', 'x']).linearizable).toBe(true);
  });

  it.each<[string, boolean, LockOp[]]>([
    [
      'one after the other',
      true,
      [lock(0, 1, acquire(1n)), lock(2, 3, release(1n)), lock(4, 5, acquire(2n))],
    ],
    ['two at a time', false, [lock(0, 1, acquire(1n)), lock(2, 3, acquire(2n))]],
    ['a lease that has passed', true, [lock(0, 1, acquire(1n)), lock(1200, 1201, acquire(2n))]],
    [
      'a lease that was renewed',
      false,
      [lock(0, 1, acquire(1n)), lock(900, 901, renew(1n)), lock(1200, 1201, acquire(2n))],
    ],
    ['a renewal after the lease', false, [lock(0, 1, acquire(1n)), lock(1200, 1201, renew(1n))]],
    [
      'a holder that is refused in its lease',
      false,
      [lock(0, 1, acquire(1n)), lock(500, 501, renew(1n, false))],
    ],
    [
      'a token that does not grow',
      false,
      [lock(0, 1, acquire(2n)), lock(2, 3, release(2n)), lock(4, 5, acquire(1n))],
    ],
    [
      'a grant whose answer was lost',
      true,
      [lock(0, open, acquire(undefined)), lock(1100, 1101, acquire(7n))],
    ],
    [
      'a release whose answer was lost',
      true,
      [lock(0, 1, acquire(1n)), lock(2, open, release(1n)), lock(4, 5, acquire(2n))],
    ],
    [
      'a renewal by the holder before the present one',
      false,
      [lock(0, 1, acquire(1n)), lock(1200, 1201, acquire(2n)), lock(1300, 1301, renew(1n))],
    ],
  ])('locks: %s: %s', (_, expected, history) => {
    expect(checkLock(history).linearizable).toBe(expected);
  });

  it('finds tokens that come twice, or in another order than the grants', () => {
    expect(tokensOutOfOrder([lock(0, 1, acquire(5n)), lock(2, 3, acquire(4n))])).toHaveLength(1);
    expect(tokensOutOfOrder([lock(0, 9, acquire(5n)), lock(2, 8, acquire(5n))])).toHaveLength(1);
    expect(tokensOutOfOrder([lock(0, 9, acquire(5n)), lock(2, 8, acquire(4n))])).toEqual([]);
  });

  it('decides long histories with many writes of unknown outcome', () => {
    const history: RegisterOp[] = [];
    for (let n = 0; n < 800; n += 1) {
      history.push(reg(n * 10, n * 10 + 15, put(`p${n}`)));
      if (n % 40 === 0)
        history.push(reg(n * 10, open, put(`u${n}`)), reg(n * 10 + 16, n * 10 + 18, read(`u${n}`)));
    }
    expect(checkRegister(history).linearizable).toBe(true);
    const planted = [...history, reg(4001, 4002, read('p10'))];
    const verdict = checkRegister(planted);
    expect(verdict.linearizable).toBe(false);
    expect(!verdict.linearizable && verdict.stuck.map(({ act }) => act)).toContainEqual(read('p10'));
  });
});

describe('the resource behind a lock', () => {
  it('takes no write with a token below the highest, and tells of two holders with one token', () => {
    const resource = new GuardedResource();
    expect([1n, 3n, 2n, 3n].map((token) => resource.write(token, `h${token}`))).toEqual([
      true,
      true,
      false,
      true,
    ]);
    expect(resource.faults()).toEqual([]);
    resource.write(3n, 'other');
    expect(resource.faults()).toEqual(['h3 and other both wrote with token 3']);
  });
});
