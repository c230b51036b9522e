import { beforeEach, describe, expect, it } from 'vitest';
import { ServiceStatus_State as State } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { CareRecords } from '../../../../src/domain/agent/care/care-records.ts';
import { Leases } from '../../../../src/domain/agent/care/leases.ts';
import { EVENT_SERIES, EventWriter, readEvent } from '../../../../src/domain/monitoring/events.ts';
import type { ProbeOutcome, ServiceConfig } from '../../../../src/domain/monitoring/services/ports.ts';
import { ServiceView } from '../../../../src/domain/monitoring/services/service-view.ts';
import { Services } from '../../../../src/domain/monitoring/services/services.ts';
import { Background } from '../../../../src/lib/background.ts';
import type { Logger } from '../../../../src/lib/logger.ts';
import { StoreTime } from '../../../../src/state/store-time.ts';
import { Views } from '../../../../src/state/views.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { emptyMemory, type MemoryData, MemoryStore } from '../../../support/memory-store.ts';

const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {} } as unknown as Logger;

const service = (name: string, more: Partial<ServiceConfig> = {}): ServiceConfig => ({
  ...{ name, probe: 'tcp', target: `${name}:1`, intervalMs: 5_000, timeoutMs: 1_000, slowMs: 500 },
  ...{ failures: 2, expectStatus: [200, 399] as const, description: '' },
  ...more,
});

let clock: FakeClock;
let store: MemoryStore;
/** What each service answers, and who asked it. */
let answers: Map<string, ProbeOutcome>;
let asked: [string, string][];
let alive: Set<string>;

beforeEach(() => {
  clock = new FakeClock();
  const data: MemoryData = emptyMemory();
  store = new MemoryStore({ data, wallMs: () => clock.wallMs() });
  answers = new Map();
  asked = [];
  alive = new Set();
});

async function replica(id: string, services: readonly ServiceConfig[]) {
  alive.add(id);
  const records = new CareRecords();
  const view = new ServiceView();
  const views = new Views({ store, watchBuffer: 100, views: [records, view] });
  await views.start();
  const figures: unknown[] = [];
  const self = { stallMs: () => stall.ms, eventLoopDelayMs: () => 0, storeAvailable: () => true };
  const stall = { ms: 0 };
  const background = new Background({ log: silent });
  const answer = async ({ name }: ServiceConfig): Promise<ProbeOutcome> => {
    asked.push([id, name]);
    return answers.get(name) ?? { ok: true, latencyMs: 5 };
  };
  const made = new Services({
    ...{ services, view, store, views, clock, background, self, replicaId: id, log: silent },
    probes: { http: answer, tcp: answer, grpc: answer, redis: answer },
    storeTime: new StoreTime({ store, clock }),
    leases: new Leases({
      ...{ store, records, clock, self, replicaId: id, startMs: clock.wallMs() },
      replicaAlive: (other) => alive.has(other),
    }),
    figures: { service: (...reading) => void figures.push(reading) },
    events: new EventWriter({ replicaId: id, wallMs: () => clock.wallMs() }),
    random: () => 0.5,
  });
  await made.load();
  return {
    ...{ id, figures, stall, services: made, views },
    state: (name: string) => made.statuses().find((status) => status.name === name),
    async pass(ms: number): Promise<void> {
      for (let left = ms; left > 0; left -= 200) {
        clock.advance(200);
        made.tick();
        await background.idle();
      }
    },
  };
}

async function events() {
  const entries = await store.readSeries('_system', EVENT_SERIES, { limit: 100 });
  return entries.map((entry) => readEvent('_system', entry, entry.value));
}

describe('system services', () => {
  it('are asked in their rhythm, and their readings become figures', async () => {
    const one = await replica('a', [service('db'), service('llm', { intervalMs: 1_000 })]);
    expect(one.state('db')).toMatchObject({ state: State.UNSPECIFIED, target: 'db:1' });
    await one.pass(10_400);
    const times = (name: string): number => asked.filter(([, which]) => which === name).length;
    expect(times('db')).toBe(2);
    expect(times('llm')).toBe(10);
    expect(one.state('db')).toMatchObject({ state: State.OK, replicaId: 'a', availability: 1 });
    expect(one.figures[0]).toEqual(['db', true, 5, true]);
    expect(await events()).toEqual([]);
  });

  it('tell that one is down and up again, the second as a consequence of the first', async () => {
    const one = await replica('a', [service('db')]);
    await one.pass(1_000);
    answers.set('db', { ok: false, detail: 'refuses connections' });
    await one.pass(5_000);
    expect(one.state('db')).toMatchObject({ state: State.OK, failures: 1, detail: 'refuses connections' });
    expect(await events()).toEqual([]);
    await one.pass(10_000);
    expect(one.state('db')).toMatchObject({ state: State.DOWN, failures: 3, availability: 0.25 });
    answers.delete('db');
    await one.pass(10_000);
    const [down, up, ...more] = await events();
    expect(more).toEqual([]);
    expect(down).toMatchObject({
      type: 'service.down',
      message: 'service db is down: it refuses connections',
    });
    expect(down?.attributes).toMatchObject({ service: 'db', probe: 'tcp', failures: '2' });
    expect(up).toMatchObject({ type: 'service.up', causeId: down?.id });
    expect(up?.attributes.after_seconds).toBe('15');
    expect(one.figures.at(-1)).toEqual(['db', true, 5, true]);
  });

  it('are asked by one replica, and all know what it found', async () => {
    const list = [service('db')];
    const one = await replica('a', list);
    await one.pass(1_000);
    const two = await replica('b', list);
    expect(two.state('db')).toMatchObject({ state: State.OK, replicaId: 'a' });
    answers.set('db', { ok: false, detail: 'gone' });
    for (let step = 0; step < 10; step += 1) {
      await one.pass(1_000);
      await two.pass(1_000);
    }
    expect(new Set(asked.map(([id]) => id))).toEqual(new Set(['a']));
    expect(two.state('db')).toMatchObject({ state: State.DOWN, detail: 'gone' });
    expect(two.figures.at(-1)).toEqual(['db', false, undefined, false]);
  });

  it('are asked by another replica once the first is gone, which goes on where that was', async () => {
    const list = [service('db', { failures: 3 })];
    const one = await replica('a', list);
    const two = await replica('b', list);
    await one.pass(1_000);
    answers.set('db', { ok: false, detail: 'gone' });
    await one.pass(10_000);
    expect(one.state('db')).toMatchObject({ state: State.OK, failures: 2 });
    alive.delete('a');
    await two.pass(6_000);
    expect(two.state('db')).toMatchObject({ state: State.DOWN, failures: 3, replicaId: 'b' });
    // The first one was only paused: what it finds is refused, and it lets go.
    answers.delete('db');
    await one.pass(11_000);
    expect((await events()).map(({ type, replicaId }) => [type, replicaId])).toEqual([['service.down', 'b']]);
    await two.pass(11_000);
    expect((await events()).map(({ type, replicaId }) => [type, replicaId])).toEqual([
      ['service.down', 'b'],
      ['service.up', 'b'],
    ]);
  });

  it('are taken over at once from a replica that leaves', async () => {
    const list = [service('db', { intervalMs: 1_000 })];
    const one = await replica('a', list);
    const two = await replica('b', list);
    await one.pass(2_000);
    await one.services.leave();
    asked = [];
    await two.pass(3_000);
    await one.pass(2_000);
    expect(new Set(asked.map(([id]) => id))).toEqual(new Set(['b']));
  });

  it('are STALE when nobody asks, and their figures are not known', async () => {
    const one = await replica('a', [service('db')]);
    const two = await replica('b', [service('db')]);
    await one.pass(1_000);
    store.faults.away = true;
    await two.pass(17_000);
    expect(two.state('db')).toMatchObject({ state: State.STALE, detail: 'nobody has asked it for 17 s' });
    expect(two.figures.slice(1)).toEqual([['db', undefined, undefined, false]]);
  });

  it('tell a change once the store is there again, if it is still so', async () => {
    const one = await replica('a', [service('db', { intervalMs: 1_000 })]);
    await one.pass(1_000);
    store.faults.away = true;
    answers.set('db', { ok: false, detail: 'gone' });
    await one.pass(3_000);
    expect(one.state('db')).toMatchObject({ state: State.DOWN });
    store.faults.away = false;
    expect(await events()).toEqual([]);
    store.faults.loseAnswers = 1;
    await one.pass(2_000);
    expect((await events()).map(({ type }) => type)).toEqual(['service.down']);
  });

  it('are not judged by a probe during which this process stood still', async () => {
    const one = await replica('a', [service('db', { intervalMs: 1_000 })]);
    await one.pass(1_000);
    answers.set('db', { ok: false, detail: 'did not answer within 1000 ms' });
    one.stall.ms = 800;
    await one.pass(3_000);
    expect(one.state('db')).toMatchObject({ state: State.OK, failures: 0 });
    one.stall.ms = 0;
    await one.pass(3_000);
    expect(one.state('db')).toMatchObject({ state: State.DOWN });
  });

  it('ask nobody where none are configured', async () => {
    const one = await replica('a', []);
    await one.pass(1_000);
    await one.services.leave();
    expect(await store.namespaces()).toEqual([]);
  });

  it('hide passwords of their targets', async () => {
    const one = await replica('a', [service('c', { probe: 'redis', target: 'redis://u:hunter2@c:1' })]);
    await one.pass(1_000);
    expect(one.state('c')?.target).toBe('redis://u:***@c:1');
    const [record] = await store.scanLive('_system');
    expect(Buffer.from(record?.value ?? []).toString('latin1')).not.toContain('hunter2');
  });
});
