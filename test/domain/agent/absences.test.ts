import { describe, expect, it } from 'vitest';
import { Absences } from '../../../src/domain/agent/absences.ts';
import { TimingWheel } from '../../../src/lib/timing-wheel.ts';
import { FakeClock, pass } from '../../support/fake-clock.ts';
import { FakeSelf } from './session-fixture.ts';

const GRACE_MS = 10_000;

function start() {
  const clock = new FakeClock();
  const errors: unknown[] = [];
  const wheel = new TimingWheel({
    clock,
    tickMs: 20,
    slots: 512,
    stallMs: 200,
    onError: (e) => errors.push(e),
  });
  const self = new FakeSelf();
  const over: string[] = [];
  const absences = new Absences({ clock, wheel, self, onOver: ({ agentId }) => over.push(agentId) });
  return {
    ...{ wheel, self, over, absences, errors },
    await: (agentId: string) =>
      absences.begin({
        ...{ namespace: 'n', agentId, epoch: 1n, sinceMs: clock.monoMs(), graceMs: GRACE_MS },
        rule: 'reconnect_grace',
      }),
    pass: (ms: number) => pass(clock, wheel, ms),
    left: (agentId: string) => absences.remainingMs('n', agentId, clock.monoMs()),
  };
}

describe('an absent agent', () => {
  it('has its grace and no more', () => {
    const { pass, over, await: awaits, left, wheel, errors } = start();
    awaits('a');
    pass(GRACE_MS - 100);
    expect(left('a')).toBeLessThanOrEqual(100);
    expect(over).toEqual([]);
    pass(200);
    expect(over).toEqual(['a']);
    expect(wheel.size, 'nothing is looked after any more').toBe(0);
    expect(errors).toEqual([]);
  });

  it('has its whole grace after an outage of the store in which it could not attach', () => {
    const { pass, over, await: awaits, left, self } = start();
    awaits('before');
    pass(9_000);
    self.storeIsAvailable = false;
    pass(1_000);
    awaits('amid');
    pass(60_000);
    expect(over).toEqual([]);
    self.storeIsAvailable = true;
    pass(GRACE_MS - 1_000);
    expect(over).toEqual([]);
    expect(left('before')).toBeGreaterThan(0);
    pass(1_200);
    expect(over.sort()).toEqual(['amid', 'before']);
  });

  it('whose grace ends soon after a short outage still gets time to attach', () => {
    const { pass, over, await: awaits, self } = start();
    awaits('a');
    pass(8_000);
    self.storeIsAvailable = false;
    pass(1_500);
    self.storeIsAvailable = true;
    pass(5_000);
    expect(over).toEqual([]);
  });

  it('leaves nothing behind when it is back', () => {
    const { pass, over, await: awaits, absences, wheel } = start();
    awaits('a');
    awaits('b');
    absences.end('n', 'a');
    expect(wheel.size).toBe(2);
    absences.end('n', 'b');
    expect(wheel.size).toBe(0);
    pass(2 * GRACE_MS);
    expect(over).toEqual([]);
  });
});
