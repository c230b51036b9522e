import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { EventLoopMonitor } from '../../src/lib/event-loop.ts';
import type { DelayHistogram } from '../../src/lib/rolling-delays.ts';

class FakeClock implements Clock {
  mono = 1_000;
  wall = 1_700_000_000_000;
  monoMs = () => this.mono;
  wallMs = () => this.wall;
  pass(ms: number): void {
    this.mono += ms;
    this.wall += ms;
  }
}

/** Keeps its samples: the 20 ms resolution is part of each, as in Node's. */
class FakeHistogram implements DelayHistogram {
  samples: number[] = [];
  record(delayMs: number): void {
    this.samples.push((delayMs + 20) * 1e6);
  }
  get count() {
    return this.samples.length;
  }
  get max() {
    return Math.max(0, ...this.samples);
  }
  percentile(percentile: number): number {
    const sorted = [...this.samples].sort((a, b) => a - b);
    return sorted[Math.ceil((percentile / 100) * sorted.length - 1e-9) - 1] ?? 0;
  }
  reset(): void {
    this.samples = [];
  }
}

function setUp() {
  const clock = new FakeClock();
  const histogram = new FakeHistogram();
  const cpu = { ms: 0 };
  const stalls: number[] = [];
  const monitor = new EventLoopMonitor({
    clock,
    histogram,
    cpuTimeMs: () => cpu.ms,
    rssBytes: () => 1_234,
    onStall: (ms) => stalls.push(ms),
  });
  const tick = (ms: number) => {
    clock.pass(ms);
    monitor.tick();
  };
  return { clock, histogram, cpu, monitor, tick, stalls };
}

describe('own stalls', () => {
  it('are the time beyond the expected tick, and small lateness is none', () => {
    const { monitor, tick, stalls, clock } = setUp();
    const start = clock.mono;
    tick(50);
    tick(99);
    expect(monitor.stallMsSince(start)).toBe(0);
    tick(2_050);
    expect(monitor.stallMsSince(start)).toBe(2_000);
    expect(stalls).toEqual([2_000]);
    expect(monitor.totalStallMs()).toBe(2_000);
  });

  it('count only as far as they lie between the two instants', () => {
    const { monitor, tick, clock } = setUp();
    tick(550); // from 1050 to 1550
    tick(50);
    tick(350); // from 1650 to 1950
    expect(clock.mono).toBe(1_950);
    const cases: [number, number, number][] = [
      [0, 1_950, 800],
      [0, 1_000, 0],
      [1_100, 1_200, 100],
      [1_550, 1_650, 0],
      [1_540, 1_660, 20],
      [1_900, 1_950, 50],
      [1_950, 1_960, 0],
    ];
    for (const [from, to, expected] of cases)
      expect([from, to, monitor.stallMs(from, to)]).toEqual([from, to, expected]);
  });

  it('are seen before the late tick itself has run', () => {
    const { monitor, clock } = setUp();
    const sent = clock.mono;
    clock.pass(5_000);
    expect(monitor.stallMs(sent, clock.mono)).toBe(4_950);
    expect(monitor.stallMs(clock.mono - 10, clock.mono)).toBe(10);
    expect(monitor.eventLoopDelayMs()).toBe(4_950);
    monitor.tick();
    expect(monitor.stallMs(sent, clock.mono)).toBe(4_950);
  });

  it('include a sleep of the machine, in which the monotonic clock stood still', () => {
    const { monitor, clock, tick } = setUp();
    tick(50);
    const before = clock.mono;
    clock.wall += 3_600_000;
    tick(60);
    expect(monitor.stallMs(before, clock.mono)).toBe(60);
    clock.wall -= 3_600_000; // a clock set back is no sleep
    tick(50);
    expect(monitor.stallMs(before + 60, clock.mono)).toBe(0);
  });

  it('are kept for the last 256 only', () => {
    const { monitor, tick, clock } = setUp();
    const start = clock.mono;
    for (let index = 0; index < 300; index += 1) tick(150);
    expect(monitor.stallMsSince(start)).toBe(256 * 100);
    expect(monitor.totalStallMs()).toBe(300 * 100);
  });
});

describe('readings', () => {
  it('tell p99 and maximum of the last ten seconds and forget what is older', () => {
    const { monitor, histogram, tick } = setUp();
    const second = (delays: number[]) => {
      for (const delay of delays) histogram.record(delay);
      for (let index = 0; index < 20; index += 1) tick(50);
    };
    const quiet = new Array<number>(50).fill(1);
    second([...quiet.slice(2), 400, 30]);
    for (let index = 0; index < 9; index += 1) second([...quiet.slice(1), 10 + index]);
    // 500 samples: the p99 is the sixth largest of 400, 30, 18, 17, 16, 15…
    expect(monitor.reading().delayMaxMs).toBeCloseTo(400);
    expect(monitor.reading().delayP99Ms).toBeCloseTo(15);
    second(quiet);
    expect(monitor.reading().delayMaxMs).toBeCloseTo(18);
  });

  it('include the stall that the histogram missed', () => {
    const { monitor, tick } = setUp();
    tick(850);
    expect(monitor.reading().delayMaxMs).toBe(800);
    tick(1_000);
    expect(monitor.eventLoopDelayMs()).toBe(950);
  });

  it('tell the cores in use over the last ten seconds', () => {
    const { monitor, cpu, tick } = setUp();
    for (let index = 0; index < 400; index += 1) {
      cpu.ms += index < 200 ? 100 : 25;
      tick(50);
    }
    expect(monitor.reading()).toMatchObject({ cpuCores: 0.5, rssBytes: 1_234 });
  });
});

describe('the real process', () => {
  let monitor: EventLoopMonitor | undefined;
  afterEach(() => monitor?.stop());

  it('notices that it was blocked', async () => {
    const noticed = new Promise<number>((resolve) => {
      monitor = new EventLoopMonitor({ clock: systemClock, onStall: resolve });
    });
    monitor?.start();
    const start = performance.now();
    while (performance.now() - start < 300);
    expect(await noticed).toBeGreaterThanOrEqual(200);
    const stalled = monitor?.stallMsSince(start) ?? 0;
    expect(stalled).toBeGreaterThanOrEqual(200);
    expect(stalled).toBeLessThanOrEqual(performance.now() - start);
    expect(monitor?.eventLoopDelayMs()).toBeGreaterThanOrEqual(200);
    expect(monitor?.reading().cpuCores).toBeGreaterThan(0);
  });

  it('notices that it was stopped by a signal', async () => {
    const noticed = new Promise<number>((resolve) => {
      monitor = new EventLoopMonitor({ clock: systemClock, onStall: (ms) => ms > 300 && resolve(ms) });
    });
    monitor?.start();
    const helper = spawn('sh', ['-c', `kill -STOP ${process.pid}; sleep 0.6; kill -CONT ${process.pid}`]);
    const gone = once(helper, 'exit');
    expect(await noticed).toBeGreaterThanOrEqual(400);
    await gone;
  });

  it('answers on the hot path in well under a microsecond', () => {
    monitor = new EventLoopMonitor({ clock: systemClock });
    const now = performance.now();
    for (let index = 0; index < 200_000; index += 1) monitor.stallMs(now, now + 1);
    const start = performance.now();
    for (let index = 0; index < 1_000_000; index += 1) monitor.stallMs(now, now + 1);
    expect((performance.now() - start) / 1_000).toBeLessThan(1);
  });
});
