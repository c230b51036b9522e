import { describe, expect, it, vi } from 'vitest';
import { GoAway_Reason } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { AgentError, Code } from '../../src/client/errors.ts';
import type { LockControls, LockOptions } from '../../src/client/locks.ts';
import { useAgent } from './agent-fixture.ts';

const fixture = useAgent();

const refused = (reason: string, code: number = Code.ABORTED) =>
  new AgentError({ code, reason, message: reason });
const broken = () => new AgentError({ code: Code.UNAVAILABLE, message: 'connection reset' });
const called = (method: string) =>
  fixture.network.calls
    .filter((call) => call.method === method)
    .map(({ request }) => request as never as Fields);
type Fields = { sessionEpoch: bigint; requestId: string; fencingToken: bigint; wait: { seconds: bigint } };

/** A service that grants the lock with token 7, renews and releases it. */
function granting(more: Partial<Record<string, () => Promise<object>>> = {}): void {
  fixture.network.onCall = (method) => {
    const answer = more[method];
    if (answer !== undefined) return answer();
    return Promise.resolve(method === 'AcquireLock' ? { lock: { fencingToken: 7n } } : {});
  };
}

/** Takes the lock and keeps it until `finish` is called, or the signal fires. */
function hold(options: LockOptions = {}) {
  let controls: LockControls | undefined;
  let finish = (): void => {};
  const done = fixture.agent.withLock('l', options, (lock) => {
    controls = lock;
    return new Promise<string>((resolve, reject) => {
      finish = () => resolve('done');
      lock.signal.addEventListener('abort', () => reject(lock.signal.reason), { once: true });
    });
  });
  done.catch(() => {});
  return { done, finish: () => finish(), lock: () => controls };
}

describe('withLock', () => {
  it('takes the lock in the present session, hands out the token, and gives it back when the work is done', async () => {
    await fixture.connected();
    granting();
    const held = hold();
    await fixture.pass(0);
    expect(held.lock()?.fencingToken).toBe(7n);
    expect(called('AcquireLock')).toMatchObject([
      { name: 'l', holder: 'a-1', namespace: 'default', bindToSession: true, sessionEpoch: 1n },
    ]);
    held.finish();
    await fixture.pass(0);
    await expect(held.done).resolves.toBe('done');
    expect(called('ReleaseLock')).toMatchObject([{ name: 'l', fencingToken: 7n }]);
    expect(held.lock()?.signal.aborted).toBe(false);
  });

  it('gives the lock back also when the work fails', async () => {
    await fixture.connected();
    granting();
    const failed = fixture.agent.withLock('l', {}, () => Promise.reject(new Error('no')));
    await Promise.all([expect(failed).rejects.toThrow('no'), fixture.pass(0)]);
    expect(called('ReleaseLock')).toHaveLength(1);
  });

  it('repeats a request whose answer was lost as it was, over a reconnect, and so gets its own grant', async () => {
    await fixture.connected();
    let tries = 0;
    granting({
      AcquireLock: () =>
        ++tries === 1 ? new Promise(() => {}) : Promise.resolve({ lock: { fencingToken: 9n } }),
    });
    const held = hold();
    await fixture.pass(0);
    fixture.lost();
    await fixture.pass(2000);
    fixture.network.stream.welcome(2n);
    await fixture.pass(2000);
    expect(held.lock()?.fencingToken).toBe(9n);
    const [first, second] = called('AcquireLock');
    expect(second).toEqual(first);
    expect(second?.sessionEpoch).toBe(1n);
    held.finish();
    await fixture.pass(0);
  });

  it('asks anew in the present session when the service did nothing in the one before', async () => {
    await fixture.connected();
    let tries = 0;
    granting({
      AcquireLock: () => {
        tries += 1;
        if (tries === 1) return Promise.reject(broken());
        if (tries === 2) return Promise.reject(refused('SESSION_SUPERSEDED'));
        return Promise.resolve({ lock: { fencingToken: 9n } });
      },
    });
    const held = hold();
    fixture.lost();
    await fixture.pass(2000);
    fixture.network.stream.welcome(2n);
    await fixture.pass(3000);
    const asked = called('AcquireLock');
    expect(asked.map(({ sessionEpoch }) => sessionEpoch).slice(-1)).toEqual([2n]);
    expect(new Set(asked.map(({ requestId }) => requestId)).size).toBe(2);
    held.finish();
    await fixture.pass(0);
  });

  it('rejects with LOCK_HELD when its time to wait is over', async () => {
    await fixture.connected();
    granting({ AcquireLock: () => Promise.reject(refused('LOCK_HELD', Code.DEADLINE_EXCEEDED)) });
    const held = hold({ waitMs: 0 });
    await Promise.all([expect(held.done).rejects.toMatchObject({ reason: 'LOCK_HELD' }), fixture.pass(0)]);
    expect(called('ReleaseLock')).toEqual([]);
  });

  it('gives back what was granted to somebody who gave up waiting', async () => {
    await fixture.connected();
    const abort = new AbortController();
    let tries = 0;
    granting({
      AcquireLock: () =>
        ++tries === 1 ? new Promise(() => {}) : Promise.resolve({ lock: { fencingToken: 9n } }),
    });
    const held = hold({ signal: abort.signal });
    await fixture.pass(0);
    abort.abort();
    await Promise.all([
      expect(held.done).rejects.toMatchObject({ code: Code.CANCELLED }),
      fixture.pass(1000),
    ]);
    expect(called('ReleaseLock')).toMatchObject([{ fencingToken: 9n }]);
  });
});

describe('the signal of a lock', () => {
  it('fires when the agent hears nothing for a whole lease', async () => {
    await fixture.connected();
    granting();
    const held = hold();
    await fixture.pass(0);
    fixture.lost();
    await fixture.pass(29_000);
    expect(held.lock()?.signal.aborted).toBe(false);
    await fixture.pass(1_100);
    expect(held.lock()?.signal.reason).toMatchObject({ reason: 'lock_lost' });
    expect(called('ReleaseLock')).toEqual([]);
  });

  it('fires after a reconnect when the service gave the lock to another one meanwhile', async () => {
    await fixture.connected();
    granting({ RenewLock: () => Promise.reject(refused('LOCK_LOST')) });
    const held = hold();
    await fixture.pass(0);
    fixture.lost();
    await fixture.pass(2000);
    fixture.network.stream.welcome(2n);
    await fixture.pass(0);
    expect(held.lock()?.signal.aborted).toBe(true);
  });

  it('that was lost by the own clock alone is given back when the service is there again: it may know nothing of it', async () => {
    await fixture.connected();
    granting();
    const held = hold();
    await fixture.pass(0);
    fixture.lost();
    await fixture.pass(31_000);
    expect(held.lock()?.signal.aborted).toBe(true);
    expect(called('ReleaseLock')).toEqual([]);
    fixture.network.stream.welcome(2n);
    await fixture.pass(100);
    expect(called('ReleaseLock')).toMatchObject([{ name: 'l', fencingToken: 7n }]);
  });

  it('does not fire over a reconnect within the lease', async () => {
    await fixture.connected();
    granting();
    const held = hold();
    await fixture.pass(0);
    fixture.lost();
    await fixture.pass(2000);
    fixture.network.stream.welcome(2n);
    await fixture.pass(10_000);
    expect(held.lock()?.signal.aborted).toBe(false);
    expect(called('RenewLock')).toHaveLength(1);
    held.finish();
    await fixture.pass(0);
  });

  it('fires when another process takes the agent over', async () => {
    await fixture.connected();
    granting();
    const held = hold();
    await fixture.pass(0);
    fixture.network.stream.down({ case: 'goAway', value: { reason: GoAway_Reason.SUPERSEDED } });
    await fixture.pass(0);
    expect(held.lock()?.signal.aborted).toBe(true);
    await expect(held.done).rejects.toMatchObject({ reason: 'lock_lost' });
  });

  it('fires when a lease of its own passes without a renewal that was acknowledged, counted from the asking', async () => {
    await fixture.connected();
    const renew = vi.fn<() => Promise<object>>(() => Promise.resolve({}));
    granting({ RenewLock: renew });
    const held = hold({ bind: false, leaseMs: 9_000 });
    await fixture.pass(15_000);
    expect(renew).toHaveBeenCalledTimes(5);
    expect(held.lock()?.signal.aborted).toBe(false);
    renew.mockImplementation(() => new Promise(() => {}));
    fixture.network.stream.down({ case: 'ping', value: { echo: 1n } });
    await fixture.pass(8_900);
    expect(held.lock()?.signal.aborted).toBe(false);
    await fixture.pass(200);
    expect(held.lock()?.signal.reason).toMatchObject({ reason: 'lock_lost' });
  });

  it('fires at once when a renewal is refused', async () => {
    await fixture.connected();
    granting({ RenewLock: () => Promise.reject(refused('LOCK_LOST')) });
    const held = hold({ bind: false, leaseMs: 9_000 });
    await fixture.pass(3_000);
    expect(held.lock()?.signal.aborted).toBe(true);
  });
});
