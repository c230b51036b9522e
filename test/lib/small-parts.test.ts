import { equals, fromBinary, toBinary } from '@bufbuild/protobuf';
import { DurationSchema, TimestampSchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Background } from '../../src/lib/background.ts';
import { CloseStack } from '../../src/lib/close-stack.ts';
import { every } from '../../src/lib/every.ts';
import { type Logger, silentLogger } from '../../src/lib/logger.ts';
import {
  durationFromMs,
  msFromDuration,
  msFromTimestamp,
  timestampFromMs,
} from '../../src/lib/proto-time.ts';
import { RollingP99 } from '../../src/lib/rolling-p99.ts';
import { FakeClock } from '../support/fake-clock.ts';

function recordingLogger() {
  const failed: unknown[] = [];
  const log: Logger = { ...silentLogger, error: (fields) => failed.push((fields as { task: unknown }).task) };
  return { log, failed };
}

describe('the 99th percentile of the last ten seconds', () => {
  it('is that of all samples, and nothing before the first', () => {
    const p99 = new RollingP99({ clock: new FakeClock() });
    expect(p99.value()).toBeUndefined();
    for (let value = 1; value <= 200; value += 1) p99.add(value);
    expect(p99.value()).toBe(198);
  });

  it('forgets what is older than ten seconds, whether or not anything follows', () => {
    const clock = new FakeClock({ monoMs: 0 });
    const p99 = new RollingP99({ clock });
    p99.add(1_000);
    clock.advance(5_000);
    p99.add(1);
    clock.advance(4_999);
    expect(p99.value()).toBe(1_000);
    clock.advance(1);
    expect(p99.value()).toBe(1);
    clock.advance(5_000);
    expect(p99.value()).toBeUndefined();
  });

  it('keeps a bounded number of samples, to the end of a burst', () => {
    const p99 = new RollingP99({ clock: new FakeClock() });
    for (let index = 0; index < 100_000; index += 1) p99.add(index < 99_000 ? 1 : 50);
    expect(p99.value()).toBe(50);
  });
});

describe('background work', () => {
  it('is logged by name when it fails, also when it fails before its first await', async () => {
    const { log, failed } = recordingLogger();
    const background = new Background({ log });
    background.run('later', async () => {
      await Promise.resolve();
      throw new Error('later');
    });
    expect(() =>
      background.run('at once', () => {
        throw new Error('at once');
      }),
    ).not.toThrow();
    await background.idle();
    expect(failed.sort()).toEqual(['at once', 'later']);
  });

  it('is waited for, with what it starts itself', async () => {
    const background = new Background({ log: silentLogger });
    const done: string[] = [];
    background.run('first', async () => {
      await Promise.resolve();
      background.run('second', async () => {
        await new Promise((resolve) => setImmediate(resolve));
        done.push('second');
      });
      done.push('first');
    });
    await background.idle();
    expect(done).toEqual(['first', 'second']);
  });
});

describe('work that comes again and again', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('never runs twice at a time, goes on after a failure, and stops', async () => {
    const { log, failed } = recordingLogger();
    const background = new Background({ log });
    let running = 0;
    let most = 0;
    let runs = 0;
    const stop = every(background, 'sweep', 10, async () => {
      running += 1;
      most = Math.max(most, running);
      runs += 1;
      await new Promise((resolve) => setTimeout(resolve, 25));
      running -= 1;
      if (runs === 1) throw new Error('the first run fails');
    });
    await vi.advanceTimersByTimeAsync(100);
    expect(most).toBe(1);
    expect(runs).toBeGreaterThanOrEqual(3);
    expect(failed).toEqual(['sweep']);
    stop();
    const before = runs;
    await vi.advanceTimersByTimeAsync(100);
    expect(runs).toBe(before);
  });
});

describe('the close stack', () => {
  it('closes in reverse, one after the other, and tries all although some fail', async () => {
    const closed: string[] = [];
    const failed: string[] = [];
    const stack = new CloseStack();
    stack.push('store', async () => {
      await Promise.resolve();
      closed.push('store');
    });
    stack.push('sync failure', () => {
      throw new Error('no');
    });
    stack.push('late failure', () => Promise.reject(new Error('no')));
    stack.push('listener', async () => {
      await new Promise((resolve) => setImmediate(resolve));
      closed.push('listener');
    });
    await stack.close((name) => failed.push(name));
    expect(closed).toEqual(['listener', 'store']);
    expect(failed).toEqual(['late failure', 'sync failure']);
    await stack.close((name) => failed.push(name));
    expect(closed).toHaveLength(2);
  });
});

describe('protobuf times', () => {
  it('are always valid and come back within a nanosecond or what a double can hold', () => {
    const ms = fc.oneof(
      fc.double({ min: -1e6, max: 1e6, noNaN: true }),
      fc.double({ min: 0, max: 4e12, noNaN: true }),
    );
    fc.assert(
      fc.property(ms, (value) => {
        const precision = Math.max(1e-6, Math.abs(value) * 2 ** -50);
        const duration = durationFromMs(value);
        expect(Math.abs(duration.nanos)).toBeLessThan(1e9);
        expect(
          duration.nanos === 0 || duration.seconds === 0n || duration.nanos < 0 === duration.seconds < 0n,
        ).toBe(true);
        expect(Math.abs(msFromDuration(duration) - value)).toBeLessThanOrEqual(precision);
        const sent = fromBinary(DurationSchema, toBinary(DurationSchema, duration));
        expect(equals(DurationSchema, sent, duration)).toBe(true);
        const timestamp = timestampFromMs(value);
        expect(timestamp.nanos).toBeGreaterThanOrEqual(0);
        expect(timestamp.nanos).toBeLessThan(1e9);
        expect(Math.abs(msFromTimestamp(timestamp) - value)).toBeLessThanOrEqual(precision);
        const told = fromBinary(TimestampSchema, toBinary(TimestampSchema, timestamp));
        expect(equals(TimestampSchema, told, timestamp)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });
});
