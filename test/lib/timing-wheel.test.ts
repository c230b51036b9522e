import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TimingWheel, type WheelTask, wheelLink } from '../../src/lib/timing-wheel.ts';
import { FakeClock, pass } from '../support/fake-clock.ts';

const TICK_MS = 20;

function newWheel(options: { slots?: number; stallMs?: number; onStall?: (ms: number) => void } = {}) {
  const clock = new FakeClock({ monoMs: 1_000 });
  const errors: unknown[] = [];
  const wheel = new TimingWheel({
    clock,
    tickMs: TICK_MS,
    slots: options.slots ?? 16,
    stallMs: options.stallMs ?? 200,
    ...(options.onStall === undefined ? {} : { onStall: options.onStall }),
    onError: (error) => errors.push(error),
  });
  return { clock, wheel, errors };
}

const task = (due: (nowMs: number) => void): WheelTask => ({ wheel: wheelLink(), due });

type Step =
  | { kind: 'schedule'; task: number; inMs: number; again: number | undefined }
  | { kind: 'cancel'; task: number }
  | { kind: 'pass'; ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('schedule' as const),
    task: fc.nat(7),
    // Also in the past, and several turns of the wheel away (a turn is 320 ms).
    inMs: fc.integer({ min: -100, max: 2_000 }),
    again: fc.option(fc.integer({ min: -50, max: 700 }), { nil: undefined }),
  }),
  fc.record({ kind: fc.constant('cancel' as const), task: fc.nat(7) }),
  fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 190 }) }),
);

describe('the timing wheel', () => {
  it('runs each task once when it is due, at most a tick late, as a plain list of deadlines would', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { clock, wheel } = newWheel();
        const deadlines = new Map<number, number>();
        const askedMs = new Map<number, number>();
        const tasks = Array.from({ length: 8 }, (_, name) => {
          const made = task((nowMs) => {
            const deadline = deadlines.get(name);
            if (deadline === undefined) throw new Error(`task ${name} was not scheduled`);
            expect(deadline).toBeLessThanOrEqual(nowMs);
            deadlines.delete(name);
            const inMs = again.get(name);
            again.delete(name);
            if (inMs === undefined) return;
            wheel.schedule(made, nowMs + inMs);
            deadlines.set(name, nowMs + inMs);
            askedMs.set(name, nowMs);
          });
          return made;
        });
        const again = new Map<number, number | undefined>();
        for (const made of steps) {
          if (made.kind === 'pass') {
            clock.advance(made.ms);
            wheel.advance();
            const tickMs = Math.floor(clock.monoMs() / TICK_MS) * TICK_MS;
            for (const [name, deadline] of deadlines) {
              // What was asked for in an earlier tick and was due when this one began has run by now.
              const due = deadline <= tickMs && (askedMs.get(name) ?? 0) < tickMs;
              expect(due, `task ${name} is overdue since ${deadline}`).toBe(false);
            }
            continue;
          }
          const found = tasks[made.task];
          if (found === undefined) continue;
          if (made.kind === 'cancel') {
            wheel.cancel(found);
            deadlines.delete(made.task);
          } else {
            wheel.schedule(found, clock.monoMs() + made.inMs);
            deadlines.set(made.task, clock.monoMs() + made.inMs);
            askedMs.set(made.task, clock.monoMs());
            again.set(made.task, made.again);
          }
          expect(wheel.size).toBe(deadlines.size);
        }
        again.clear();
        pass(clock, wheel, 3_000);
        expect(deadlines.size).toBe(0);
        expect(wheel.size).toBe(0);
      }),
      { numRuns: 500 },
    );
  });

  it('runs a task no sooner than it is due and within one tick after', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 3_000 }), { minLength: 1, maxLength: 40 }), (delays) => {
        const { clock, wheel } = newWheel();
        const startMs = clock.monoMs();
        const ran: number[] = [];
        delays.forEach((delay, index) => {
          wheel.schedule(
            task((nowMs) => (ran[index] = nowMs)),
            startMs + delay,
          );
        });
        pass(clock, wheel, 3_100);
        delays.forEach((delay, index) => {
          expect((ran[index] ?? 0) - startMs).toBeGreaterThanOrEqual(delay);
          expect((ran[index] ?? Number.POSITIVE_INFINITY) - startMs).toBeLessThanOrEqual(
            Math.max(delay, 1) + TICK_MS,
          );
        });
      }),
    );
  });

  it('judges nothing in the first tick after a stall, and everything in the second', () => {
    const stalls: number[] = [];
    const { clock, wheel } = newWheel({ onStall: (ms) => stalls.push(ms) });
    const ran: number[] = [];
    for (const inMs of [50, 500, 5_000, 90_000]) {
      wheel.schedule(
        task(() => ran.push(inMs)),
        clock.monoMs() + inMs,
      );
    }
    clock.advance(20_000);
    wheel.advance();
    expect(ran).toEqual([]);
    expect(stalls).toEqual([20_000 - TICK_MS]);
    clock.advance(TICK_MS);
    wheel.advance();
    expect(ran.sort((a, b) => a - b)).toEqual([50, 500, 5_000]);
  });

  it('gets on with it when every tick is late', () => {
    const { clock, wheel } = newWheel();
    let ran = 0;
    wheel.schedule(
      task(() => (ran += 1)),
      clock.monoMs() + 100,
    );
    for (let tick = 0; tick < 2; tick += 1) {
      clock.advance(1_000);
      wheel.advance();
    }
    expect(ran).toBe(1);
  });

  it('goes on with the others when a task throws, cancels its neighbour or moves it', () => {
    const { clock, wheel, errors } = newWheel();
    const ran: string[] = [];
    const atMs = clock.monoMs() + 40;
    const named = (name: string, effect: () => void) =>
      task(() => {
        ran.push(name);
        effect();
      });
    const last = named('last', () => {});
    const moved = named('moved', () => {});
    const cancelled = named('cancelled', () => {});
    const mover = named('mover', () => {
      wheel.cancel(cancelled);
      wheel.schedule(moved, clock.monoMs() + 100);
      throw new Error('a task failed');
    });
    // A slot runs its newest task first.
    for (const made of [last, moved, cancelled, mover]) wheel.schedule(made, atMs);
    pass(clock, wheel, 60);
    expect(ran).toEqual(['mover', 'last']);
    expect(errors).toHaveLength(1);
    pass(clock, wheel, 100);
    expect(ran).toEqual(['mover', 'last', 'moved']);
  });

  it('never spins on a task that is always due, even when a whole turn was missed', () => {
    const { clock, wheel } = newWheel();
    let ran = 0;
    const always = task((nowMs) => {
      ran += 1;
      wheel.schedule(always, nowMs - 1);
    });
    wheel.schedule(always, clock.monoMs());
    for (let tick = 0; tick < 4; tick += 1) {
      clock.advance(10_000);
      wheel.advance();
    }
    expect(ran).toBeGreaterThan(0);
    expect(ran).toBeLessThanOrEqual(8);
  });
});
