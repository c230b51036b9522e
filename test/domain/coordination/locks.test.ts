import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  AcquireLockRequestSchema,
  GetLockRequestSchema,
  ListLocksRequestSchema,
  ReleaseLockRequestSchema,
  RenewLockRequestSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import { durationFromMs } from '../../../src/lib/proto-time.ts';
import { startFleet, type TestFleet, turns } from '../agent/fleet-fixture.ts';

const ANN = { principal: 'ann', token: undefined };
let fleet: TestFleet;
beforeEach(async () => {
  fleet = await startFleet();
});
afterEach(() => fleet.stop());

type Acquire = MessageInitShape<typeof AcquireLockRequestSchema>;
const acquire = (more: Acquire = {}, how: { signal?: AbortSignal; token?: string } = {}) =>
  fleet.coordination.locks.acquire(
    create(AcquireLockRequestSchema, { name: 'l', holder: 'h', ...more }),
    { ...ANN, token: how.token },
    { signal: how.signal ?? new AbortController().signal, timeLeftMs: undefined },
  );
const release = (token: bigint) =>
  fleet.coordination.locks.release(create(ReleaseLockRequestSchema, { name: 'l', fencingToken: token }));
const renew = (token: bigint, more: object = {}) =>
  fleet.coordination.locks.renew(create(RenewLockRequestSchema, { name: 'l', fencingToken: token, ...more }));
const stored = async () =>
  (await fleet.coordination.locks.get(create(GetLockRequestSchema, { name: 'l' }))).lock;
const tokenOf = ({ lock: granted }: Awaited<ReturnType<typeof acquire>>) => granted?.fencingToken ?? 0n;
const upkeep = async () => {
  const fence = { key: 'lease/care', revision: 0n };
  for (const chore of fleet.coordination.chores)
    await chore.run({ namespace: 'default', fence, storeMs: await fleet.store.now() });
  await turns();
};
/** Real time that a waiter may need to notice. */
const wait = durationFromMs(60_000);

describe('a lock', () => {
  it('is with one holder, whom the others are told', async () => {
    const first = await acquire({ holder: 'one' });
    expect(first.lock).toMatchObject({ held: true, holder: 'one', name: 'l', namespace: 'default' });
    await expect(acquire({ holder: 'two' })).rejects.toMatchObject({ metadata: { holder: 'one' } });
  });

  it('gives every grant a higher token, also when it was given back, lapsed or forgotten', async () => {
    const tokens = [tokenOf(await acquire())];
    await release(tokens.at(-1) ?? 0n);
    tokens.push(tokenOf(await acquire()));
    fleet.clock.advance(30_001);
    tokens.push(tokenOf(await acquire()));
    fleet.clock.advance(8 * 24 * 3600 * 1000);
    await upkeep();
    await expect(stored()).rejects.toThrow('nobody');
    tokens.push(tokenOf(await acquire()));
    const sorted = [...tokens].sort((a, b) => (a < b ? -1 : 1));
    expect(tokens).toEqual(sorted);
    expect(new Set(tokens).size).toBe(4);
  });

  it('gives higher tokens in a later epoch of the store, though it fell back', async () => {
    const before = tokenOf(await acquire());
    fleet.store.data.namespaces.get('default')?.entries.delete('lock/l');
    fleet.store.data.epoch += 1n;
    expect(tokenOf(await acquire())).toBeGreaterThan(before);
  });

  it('can be kept and given back with the present token only', async () => {
    const first = tokenOf(await acquire());
    fleet.clock.advance(30_001);
    const second = tokenOf(await acquire());
    for (const change of [release(first), renew(first)]) {
      await expect(change).rejects.toMatchObject({ metadata: { current_fencing_token: `${second}` } });
    }
    await renew(second);
    await release(second);
    expect(await stored()).toMatchObject({ held: false });
    await expect(release(second)).rejects.toThrow('not held');
  });

  it('is lost with its lease, even when nobody else took it', async () => {
    const token = tokenOf(await acquire({ lease: durationFromMs(5000) }));
    fleet.clock.advance(4000);
    const { leaseLeft } = await renew(token);
    expect(leaseLeft?.seconds).toBe(5n);
    fleet.clock.advance(5000);
    expect(await stored()).toMatchObject({ held: false });
    await expect(renew(token)).rejects.toThrow('not held');
  });

  it('waits for its delay after a lost lease, and not after it was given back', async () => {
    const token = tokenOf(await acquire({ lease: durationFromMs(1000), lockDelay: durationFromMs(5000) }));
    fleet.clock.advance(1001);
    await expect(acquire()).rejects.toThrow('not to be had');
    fleet.clock.advance(5000);
    const next = tokenOf(await acquire({ lockDelay: durationFromMs(5000) }));
    expect(next).toBeGreaterThan(token);
    await release(next);
    await acquire();
  });

  it('answers a repeat with the same grant', async () => {
    const first = await acquire({ requestId: 'r' });
    expect(tokenOf(await acquire({ requestId: 'r' }))).toBe(tokenOf(first));
  });

  it('answers a repeat with the same grant also while others wait for it to be given back', async () => {
    const first = await acquire({ requestId: 'r' });
    const waiter = acquire({ holder: 'other', wait });
    await turns();
    expect(tokenOf(await acquire({ requestId: 'r' }))).toBe(tokenOf(first));
    await release(tokenOf(first));
    expect((await waiter).lock?.holder).toBe('other');
  });

  it('answers a repeat with the grant that its first try gets in the meantime', async () => {
    const first = await acquire({ requestId: 'r' });
    const looked = vi.spyOn(fleet.store, 'getRequest').mockResolvedValueOnce(undefined);
    expect(tokenOf(await acquire({ requestId: 'r' }))).toBe(tokenOf(first));
    expect(looked).toHaveBeenCalledTimes(2);
  });

  it('shows the value of its holder: who leads, and where', async () => {
    const token = tokenOf(await acquire({ value: { data: { case: 'text', value: 'host-1' } } }));
    expect((await stored())?.value?.data.value).toBe('host-1');
    await renew(token, { value: { data: { case: 'text', value: 'host-2' } } });
    expect((await stored())?.value?.data.value).toBe('host-2');
  });
});

describe('waiting for a lock', () => {
  it('gets it when it is given back, in the order of asking', async () => {
    const token = tokenOf(await acquire());
    const order: string[] = [];
    const waiters = ['a', 'b', 'c'].map(async (holder) => {
      const granted = await acquire({ holder, wait });
      order.push(holder);
      await turns();
      await release(tokenOf(granted));
    });
    await turns();
    expect(await stored()).toMatchObject({ waiters: 3 });
    await release(token);
    await Promise.all(waiters);
    expect(order).toEqual(['a', 'b', 'c']);
  });

  it('is not overtaken by who does not wait', async () => {
    const token = tokenOf(await acquire());
    const waiter = acquire({ holder: 'patient', wait });
    await turns();
    const released = release(token);
    await expect(acquire({ holder: 'hasty' })).rejects.toThrow();
    await released;
    expect((await waiter).lock?.holder).toBe('patient');
  });

  it('ends with LOCK_HELD when its time is over', async () => {
    await acquire({ holder: 'one' });
    const late = acquire({ holder: 'two', wait: durationFromMs(150) });
    const ticking = setInterval(() => fleet.clock.advance(50), 10);
    await expect(late)
      .rejects.toMatchObject({ metadata: { holder: 'one' } })
      .finally(() => clearInterval(ticking));
    expect(await stored()).toMatchObject({ waiters: 0 });
  });

  it('ends when the caller goes away, and the next one in line goes on', async () => {
    const token = tokenOf(await acquire());
    const abort = new AbortController();
    const first = acquire({ holder: 'gone', wait }, { signal: abort.signal });
    const second = acquire({ holder: 'next', wait });
    await turns();
    abort.abort();
    await expect(first).rejects.toThrow();
    await release(token);
    expect((await second).lock?.holder).toBe('next');
  });

  it('gets it when the lease of its holder passes', async () => {
    await acquire({ holder: 'one', lease: durationFromMs(1000) });
    const waiter = acquire({ holder: 'two', wait });
    await turns();
    fleet.clock.advance(1001);
    expect((await waiter).lock?.holder).toBe('two');
  });
});

describe('a lock bound to a session', () => {
  const bind = async () => {
    const token = await fleet.register('w1');
    const { session } = await fleet.attach('w1', token, { instanceId: 'p1' });
    const granted = await acquire({ bindToSession: true, sessionEpoch: session.epoch }, { token });
    return { token, session, granted };
  };

  it('is held for as long as the agent is there, without renewals', async () => {
    const { granted } = await bind();
    expect(granted.leaseLeft).toBeUndefined();
    fleet.clock.advance(3_600_000);
    await upkeep();
    expect(await stored()).toMatchObject({ held: true, boundAgentId: 'w1' });
  });

  it('goes when the agent leaves, and the next one in line has it', async () => {
    const { session } = await bind();
    const next = acquire({ holder: 'next', wait });
    await turns();
    await fleet.sessions.left(session, 'done');
    await upkeep();
    expect((await next).lock?.holder).toBe('next');
    expect(fleet.types('w1')).toContain('lock.lost');
  });

  it('stays with the same process over a reconnect, and goes when another one attaches', async () => {
    const { token, granted } = await bind();
    await fleet.attach('w1', token, { instanceId: 'p1' });
    await upkeep();
    await renew(tokenOf(granted));
    await fleet.attach('w1', token, { instanceId: 'p2' });
    await upkeep();
    await expect(renew(tokenOf(granted))).rejects.toThrow('not held');
  });

  it('is among what a loss takes away', async () => {
    await bind();
    const known = fleet.directory.get('default', 'w1');
    if (known === undefined) throw new Error('no agent');
    const effects = await fleet.coordination.hooks[1]?.effects({ namespace: 'default', known, storeMs: 0 });
    expect(effects).toMatchObject({ puts: [{ key: 'lock/l' }], summary: expect.stringContaining('1 locks') });
  });

  it('is refused without an epoch, and with one that is not the present one', async () => {
    const { token, session } = await bind();
    await expect(acquire({ name: 'm', bindToSession: true }, { token })).rejects.toThrow('session_epoch');
    await expect(
      acquire({ name: 'm', bindToSession: true, sessionEpoch: session.epoch - 1n }, { token }),
    ).rejects.toThrow('newer session');
  });
});

it('ListLocks goes on from page to page', async () => {
  for (const name of ['a', 'b', 'c']) await acquire({ name });
  const first = fleet.coordination.locks.list(create(ListLocksRequestSchema, { pageSize: 2 }));
  expect(first.locks.map(({ name }) => name)).toEqual(['a', 'b']);
  const { nextPageToken: pageToken } = first;
  const second = fleet.coordination.locks.list(create(ListLocksRequestSchema, { pageSize: 2, pageToken }));
  expect(second.locks.map(({ name }) => name)).toEqual(['c']);
});
