import { describe, expect, it } from 'vitest';
import {
  Aggregation,
  type MetricScope,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { HeldLease } from '../../../../src/domain/agent/care/leases.ts';
import { readCells } from '../../../../src/domain/monitoring/history/cells.ts';
import { decodeChunk } from '../../../../src/domain/monitoring/history/chunks.ts';
import { durationFromMs, timestampFromMs } from '../../../../src/lib/proto-time.ts';
import { FakeClock, seededIds } from '../../../support/fake-clock.ts';
import { MemoryStore } from '../../../support/memory-store.ts';
import { AGENT, DAY, FLEET, HOUR, historyRig, MINUTE, ownAgent, REPLICA, ZONE } from './history-fixture.ts';

const { AVG, MIN, MAX, P50, P95, P99 } = Aggregation;
const seconds = (ms: number) => durationFromMs(ms);
const of = (metric: string, scope: MetricScope = FLEET) => ({ metric, scope });
const between = (fromMs: number, toMs: number) => ({
  startTime: timestampFromMs(fromMs),
  endTime: timestampFromMs(toMs),
});
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
/** The nearest-rank quantile. */
const exact = (values: readonly number[], q: number): number =>
  [...values].sort((a, b) => a - b)[Math.ceil(q * values.length) - 1] ?? Number.NaN;

describe('the history of a fleet', () => {
  it('is answered from samples, and from minutes where steps are longer, alike', async () => {
    const rig = historyRig();
    let value = 0;
    await rig.pass(2 * HOUR, () => {
      value = (value + 0.01) % 1;
      rig.set('system_load', { scope: FLEET, value });
    });
    const now = rig.storeMs();
    const raw = await rig.query({
      ...of('system_load'),
      ...between(now - HOUR, now),
      step: seconds(10_000),
      aggregations: [AVG],
    });
    expect(raw.response.resolution?.seconds).toBe(10n);
    expect(raw.points.length).toBeGreaterThan(350);
    expect(new Set(raw.points.map(({ count }) => count))).toEqual(new Set([1]));
    const minutes = await rig.query({
      ...of('system_load'),
      ...between(now - HOUR, now),
      step: seconds(10 * MINUTE),
      aggregations: [AVG, MIN, MAX, P50],
    });
    expect(minutes.response.resolution?.seconds).toBe(60n);
    const full = minutes.points.filter(({ count }) => count === 60);
    expect(full.length).toBeGreaterThanOrEqual(4);
    for (const { ms, values } of full) {
      const same = raw.points
        .filter((point) => point.ms >= ms && point.ms < ms + 10 * MINUTE)
        .map(({ values: [one] }) => one ?? 0);
      expect(values[0]).toBeCloseTo(sum(same) / same.length, 5);
      expect(values[1]).toBeCloseTo(Math.min(...same), 5);
      expect(values[2]).toBeCloseTo(Math.max(...same), 5);
      expect(Math.abs((values[3] ?? 0) / exact(same, 0.5) - 1)).toBeLessThan(0.02);
    }
  });

  it('is there at once, before anything is stored', async () => {
    const rig = historyRig();
    rig.set('cpu', { scope: REPLICA, id: 'replica-1', value: 0.25 });
    await rig.pass(30_000);
    const { points } = await rig.query({ ...of('cpu', REPLICA), step: seconds(10_000) });
    expect(points.map(({ values }) => values)).toEqual([[0.25], [0.25], [0.25]]);
  });

  it('keeps zones apart, merges them if asked, and tells nothing of a time when nothing was measured', async () => {
    const rig = historyRig();
    rig.set('agent_health', { scope: ZONE, id: 'eu', value: 0.5 }, { scope: ZONE, id: 'us', value: 1 });
    await rig.pass(10 * MINUTE);
    rig.set('agent_health', { scope: ZONE, id: 'eu', value: undefined });
    await rig.pass(10 * MINUTE);
    const { response } = await rig.query({ ...of('agent_health', ZONE), step: seconds(MINUTE) });
    expect(response.series.map(({ id }) => id)).toEqual(['eu', 'us']);
    expect(response.series[0]?.points.length).toBeLessThanOrEqual(11);
    const { points } = await rig.query({
      ...of('agent_health', ZONE),
      merge: true,
      ids: ['eu', 'us'],
      step: seconds(MINUTE),
    });
    expect(points[3]).toMatchObject({ values: [0.75], count: 12 });
    expect((await rig.query({ ...of('agent_health', ZONE), ids: ['asia'] })).response.series).toEqual([]);
  });

  it('rolls hours up once they are over, again after a restart, and answers months from them', async () => {
    const clock = new FakeClock();
    const store = new MemoryStore({ wallMs: () => clock.wallMs() });
    const first = historyRig({ clock, store });
    first.set('tasks_waiting', { scope: FLEET, value: 3 });
    const startMs = first.storeMs();
    await first.pass(5 * HOUR, undefined, 5 * MINUTE);
    // Killed: nothing is handed over. Its next life goes on.
    const second = historyRig({ clock, store });
    second.set('tasks_waiting', { scope: FLEET, value: 5 });
    await second.pass(4 * DAY, undefined, 5 * MINUTE);
    const now = second.storeMs();
    const { response, points } = await second.query({
      ...of('tasks_waiting'),
      ...between(startMs, now),
      step: seconds(HOUR),
      aggregations: [AVG, MAX],
    });
    expect(response.resolution?.seconds).toBe(3600n);
    expect(points.length).toBeGreaterThanOrEqual(100);
    const counts = points.slice(1, -2).map(({ count }) => count);
    // A sample every five minutes; one at most was lost with the first life.
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(11);
    expect(Math.max(...counts)).toBeLessThanOrEqual(12);
    expect(points[2]?.values).toEqual([3, 3]);
    expect(points[50]?.values).toEqual([5, 5]);
  });

  it('has a keeper in every namespace, also behind many that others keep', async () => {
    const names = Array.from({ length: 50 }, (_, index) => `n${index}`);
    const taken = new Set<string>();
    const rig = historyRig({
      namespaces: () => names,
      keeps: (namespace) => taken.has(namespace),
      acquire: (namespace) => {
        if (Number(namespace.slice(1)) < 40) return undefined;
        taken.add(namespace);
        return {} as HeldLease;
      },
    });
    await rig.history.chores();
    expect(taken.size).toBe(10);
  });

  it('rolls up what was stored late once more, whichever replica held it back', async () => {
    const clock = new FakeClock();
    const store = new MemoryStore({ wallMs: () => clock.wallMs() });
    const keeper = historyRig({ clock, store });
    const other = historyRig({ clock, store, replicaId: 'replica-2', keeps: () => false });
    keeper.set('cpu', { scope: REPLICA, id: 'replica-1', value: 0.25 });
    other.set('cpu', { scope: REPLICA, id: 'replica-2', value: 0.5 });
    const startMs = Math.ceil(clock.wallMs() / HOUR) * HOUR;
    let away = false;
    const step = async (): Promise<void> => {
      await keeper.pass(MINUTE, undefined, MINUTE);
      await other.history.tick();
      store.faults.away = away;
      await other.history.store().catch(() => {});
      await other.history.chores().catch(() => {});
      store.faults.away = false;
    };
    const run = async (untilMs: number): Promise<void> => {
      while (clock.wallMs() < untilMs) await step();
    };
    await run(startMs + 10 * MINUTE);
    // Only this one does not reach the database, for hours; the keeper rolls up without it.
    away = true;
    await run(startMs + 5 * HOUR + 10 * MINUTE);
    away = false;
    await run(startMs + 8 * HOUR);
    for (const id of ['replica-1', 'replica-2']) {
      const counts = new Map<number, number>();
      const { entries } = await store.scan('_system', { prefix: `~h/h/r/${id}/`, limit: 100 });
      for (const { value } of entries) {
        const chunk = decodeChunk(value);
        for (const { cells } of chunk?.columns ?? []) {
          readCells(cells, {
            cell: (index, count) => void counts.set(Number(chunk?.startMs) + index * HOUR, count),
            bucket: () => {},
          });
        }
      }
      const hours = [1, 2, 3, 4, 5].map((hour) => counts.get(startMs + hour * HOUR));
      expect(hours, id).toEqual([60, 60, 60, 60, 60]);
    }
  });

  it('lets others have their turn while thousands of subjects are looked for', async () => {
    const rig = historyRig();
    const ids = Array.from({ length: 300 }, (_, index) => `z${index}`);
    rig.set('agent_health', ...ids.map((id) => ({ scope: ZONE, id, value: 1 })));
    await rig.pass(2 * MINUTE);
    // Every look at the clock takes a while.
    const monoMs = rig.clock.monoMs.bind(rig.clock);
    let looks = 0;
    rig.clock.monoMs = () => monoMs() + looks++;
    let turns = 0;
    let next = setImmediate(function count() {
      turns += 1;
      next = setImmediate(count);
    });
    await rig.query({ ...of('agent_health', ZONE), merge: true, step: seconds(MINUTE) });
    clearImmediate(next);
    // One of eight looks at least is followed by a pause: 300 subjects in each of the tiers.
    expect(turns).toBeGreaterThan(300 / 8);
  });

  it('is removed when it is older than it is kept, tier by tier, but not because the clock jumped', async () => {
    const rig = historyRig({ config: { rawMs: HOUR, minutesMs: 3 * HOUR, hoursMs: DAY } });
    rig.set('system_load', { scope: FLEET, value: 0.5 });
    await rig.pass(30 * HOUR, undefined, 2 * MINUTE);
    const { entries } = await rig.store.scan('default', { prefix: '~h/', limit: 10_000 });
    const count = (tier: string) => entries.filter(({ key }) => key.startsWith(`~h/${tier}/`)).length;
    expect(count('r')).toBeLessThanOrEqual(9);
    expect(count('m')).toBeLessThanOrEqual(6);
    expect(count('h')).toBeGreaterThanOrEqual(2);
    rig.shift.ms = 365 * DAY;
    await rig.pass(20 * MINUTE, undefined, MINUTE);
    const after = await rig.store.scan('default', { prefix: '~h/', limit: 10_000 });
    expect(after.entries.length).toBeGreaterThanOrEqual(entries.length);
    expect(rig.warnings.join()).toContain('jumped');
  });

  it('loses nothing and doubles nothing when the store is away for an hour, and its answers say so meanwhile', async () => {
    const rig = historyRig();
    const store = rig.store as MemoryStore;
    rig.set('system_load', { scope: FLEET, value: 0.25 });
    await rig.pass(10 * MINUTE);
    store.faults.away = true;
    await rig.pass(HOUR);
    await expect(rig.query(of('system_load'))).rejects.toThrow();
    expect(rig.history.backlog().chunks).toBeGreaterThan(0);
    store.faults.away = false;
    store.faults.loseAnswers = 3;
    await rig.pass(10 * MINUTE);
    const now = rig.storeMs();
    const { points } = await rig.query({
      ...of('system_load'),
      ...between(now - 2 * HOUR, now),
      step: seconds(2 * HOUR),
    });
    expect(sum(points.map(({ count }) => count))).toBeGreaterThanOrEqual(80 * 6 - 7);
    expect(sum(points.map(({ count }) => count))).toBeLessThanOrEqual(80 * 6);
    expect(rig.history.backlog()).toMatchObject({ dropped: 0 });
  });

  it('loses nothing and doubles nothing when the clock of the store is set back and forth', async () => {
    const rig = historyRig();
    rig.set('system_load', { scope: FLEET, value: 0.25 });
    const startMs = rig.storeMs();
    await rig.pass(30 * MINUTE);
    rig.shift.ms = -20 * MINUTE;
    await rig.pass(10 * MINUTE);
    rig.shift.ms = 0;
    await rig.pass(20 * MINUTE);
    await rig.history.leave();
    const { points } = await rig.query({
      ...of('system_load'),
      ...between(startMs, startMs + 2 * HOUR),
      step: seconds(10 * MINUTE),
    });
    expect(sum(points.map(({ count }) => count))).toBe(60 * 6);
    // The ten minutes that came twice.
    expect(Math.max(...points.map(({ count }) => count))).toBeGreaterThan(100);
  });

  it('of two replicas adds up: each writes what it measured, and a change of the keeper loses nothing', async () => {
    const clock = new FakeClock();
    const store = new MemoryStore({ wallMs: () => clock.wallMs() });
    const keeper = { id: 'one' };
    const rigs = ['one', 'two'].map((replicaId) =>
      historyRig({ clock, store, replicaId, keeps: () => keeper.id === replicaId }),
    );
    for (const [index, rig] of rigs.entries()) {
      rig.set('system_load', { scope: FLEET, value: 0.5 }, { scope: REPLICA, id: `r${index}`, value: index });
    }
    for (let minute = 0; minute < 40; minute += 1) {
      keeper.id = minute < 20 ? 'one' : 'two';
      for (let step = 0; step < 6; step += 1) {
        clock.advance(10_000);
        for (const { history } of rigs) {
          await history.tick();
          await history.store();
        }
      }
    }
    for (const { history } of rigs) await history.leave();
    const [first] = rigs;
    if (first === undefined) throw new Error('no rig');
    const { points } = await first.query({ ...of('system_load'), step: seconds(HOUR) });
    expect(sum(points.map(({ count }) => count))).toBe(240);
    const { response } = await first.query({ ...of('system_load', REPLICA), step: seconds(HOUR) });
    expect(response.series.map(({ id }) => id)).toEqual(['r0', 'r1']);
  });
});

describe('the history of agents', () => {
  it('has every round trip: percentiles over hours and over agents are within 1 % of the exact ones', async () => {
    const agents = Array.from({ length: 20 }, (_, index) => ownAgent(`a${index}`));
    const rig = historyRig({ agents: () => agents });
    const { random } = seededIds(7);
    const trips = new Map<string, number[]>();
    const startMs = rig.storeMs();
    await rig.pass(3 * HOUR, () => {
      for (const { session } of agents) {
        // A heavy tail: 0.5 ms to seconds.
        const rtt = 0.5 * (1 - random()) ** -1.2;
        rig.history.heard(session, rtt);
        const list = trips.get(session.agentId) ?? [];
        trips.set(session.agentId, list);
        list.push(rtt);
      }
    });
    await rig.history.leave();
    const range = between(startMs, rig.storeMs() + 1);
    const aggregations = [P50, P95, P99, AVG, MIN, MAX];
    const { points } = await rig.query({
      ...of('communication_latency', AGENT),
      ids: ['a3'],
      ...range,
      step: seconds(DAY),
      aggregations,
    });
    const check = (values: readonly number[], all: readonly number[]) => {
      for (const [index, q] of [0.5, 0.95, 0.99].entries()) {
        expect(Math.abs((values[index] ?? 0) / exact(all, q) - 1)).toBeLessThan(0.0101);
      }
      expect((values[3] ?? 0) / (sum(all) / all.length)).toBeCloseTo(1, 6);
      expect(values[4]).toBeCloseTo(Math.min(...all), 3);
      expect((values[5] ?? 0) / Math.max(...all)).toBeCloseTo(1, 6);
    };
    const together = points.flatMap(({ values }) => [values]);
    expect(together).toHaveLength(1);
    check(together[0] ?? [], trips.get('a3') ?? []);
    const merged = await rig.query({
      ...of('communication_latency', AGENT),
      merge: true,
      ...range,
      step: seconds(DAY),
      aggregations,
    });
    expect(merged.points[0]?.count).toBe(20 * 3 * 360);
    check(merged.points[0]?.values ?? [], [...trips.values()].flat());
  });

  it('shows the minutes that are over at once, before they are stored', async () => {
    const agents = [ownAgent('a')];
    const rig = historyRig({ agents: () => agents });
    await rig.pass(3 * MINUTE, () => {
      for (const { session } of agents) rig.history.heard(session, 5);
    });
    const { points } = await rig.query({
      ...of('communication_latency', AGENT),
      ids: ['a'],
      step: seconds(MINUTE),
    });
    expect(points.length).toBeGreaterThanOrEqual(2);
    const load = await rig.query({ ...of('system_load', AGENT), ids: ['a'], step: seconds(MINUTE) });
    expect(load.points.at(-1)?.values).toEqual([0.5]);
  });

  it('goes on where it was when the agent comes back, on this replica or another', async () => {
    const clock = new FakeClock();
    const store = new MemoryStore({ wallMs: () => clock.wallMs() });
    const one = historyRig({ clock, store, replicaId: 'one' });
    const two = historyRig({ clock, store, replicaId: 'two' });
    const startMs = one.storeMs();
    for (let part = 0; part < 8; part += 1) {
      const { session } = ownAgent('a');
      const rig = part % 3 === 2 ? two : one;
      await rig.pass(5 * MINUTE, () => rig.history.heard(session, 10));
      rig.history.ended(session);
    }
    await one.history.leave();
    await two.history.leave();
    const { points } = await one.query({
      ...of('communication_latency', AGENT),
      ids: ['a'],
      ...between(startMs, one.storeMs() + 1),
      step: seconds(MINUTE),
    });
    expect(sum(points.map(({ count }) => count))).toBe(8 * 30);
  });

  it('is not kept where the configuration says so', async () => {
    const agents = [ownAgent('a')];
    const rig = historyRig({ agents: () => agents, config: { agentsMs: 0 } });
    await rig.pass(10 * MINUTE, () => {
      for (const { session } of agents) rig.history.heard(session, 5);
    });
    await rig.history.leave();
    expect((await rig.store.scan('default', { prefix: '~h/m/a/', limit: 10 })).entries).toEqual([]);
  });
});

describe('queries that would return or read too much', () => {
  it('are refused and told what would do', async () => {
    const rig = historyRig();
    rig.clock.advance(61 * DAY);
    const ids = Array.from({ length: 1000 }, (_, index) => `a${index}`);
    const now = rig.storeMs();
    const range = between(now - DAY, now);
    await expect(
      rig.query({ ...of('communication_latency', AGENT), ids, ...range, step: seconds(MINUTE) }),
    ).rejects.toMatchObject({
      reason: 94,
      message: expect.stringMatching(/at most 100000 are given: a step of \d+ s would do/),
    });
    await expect(
      rig.query({ ...of('communication_latency', AGENT), ids, ...range, step: seconds(DAY), merge: true }),
    ).rejects.toMatchObject({
      reason: 94,
      message: expect.stringMatching(/at most \d+ subjects over this range would do/),
    });
  });

  it.each([
    [{ metric: 'nonsense', scope: FLEET }, 'metric'],
    [{ metric: 'dead_letters', scope: AGENT }, 'scope'],
    [{ metric: 'cpu', scope: REPLICA, namespace: 'default' }, 'namespace'],
    [{ metric: 'system_load', scope: ZONE, selector: 'a=b' }, 'selector'],
    [{ metric: 'system_load', scope: FLEET, resource: 'slots' }, 'resource'],
  ])('with fields that do not go together are refused: %o', async (request, field) => {
    await expect(historyRig().query(request)).rejects.toMatchObject({ violations: [{ field }] });
  });
});
