import { describe, expect, it } from 'vitest';
import { AlertSeverity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { alertKey, encodeAlert } from '../../../../src/domain/monitoring/alerts/alert-record.ts';
import { SinkError } from '../../../../src/domain/monitoring/sinks/ports.ts';
import { msFromDuration } from '../../../../src/lib/proto-time.ts';
import { sampleAlert } from '../../../support/sample-alert.ts';
import { FakeSink, gateOf, hanging, SinksRig, settled, sinkConfig } from './sinks-fixture.ts';

/** A replica that holds the lease, with one sink. */
async function one(fields: Parameters<typeof sinkConfig>[0] = {}) {
  const rig = new SinksRig();
  const sink = new FakeSink();
  const replica = await rig.replica({ sinks: { hook: sink }, configs: [sinkConfig(fields)] });
  await rig.give(replica);
  return { rig, sink, replica };
}

const down = (): Promise<void> => Promise.reject(new SinkError({ message: 'sink.example answered 500' }));

describe('the outbox of alerts', () => {
  it('sends what is to be told at once, and stores that it was taken', async () => {
    const { rig, sink, replica } = await one();
    await rig.alert('a', { hook: 'firing' });
    await settled();
    expect(sink.ids).toEqual(['a/firing']);
    expect(sink.taken[0]?.event).toMatchObject({
      type: 'mycosoft.orchestrator.alert.firing',
      subject: 'rule',
    });
    expect(await rig.told('a')).toBe('firing');
    await rig.alert('a', { hook: 'resolved' });
    await settled();
    expect(sink.ids).toEqual(['a/firing', 'a/resolved']);
    expect(await rig.told('a')).toBe('resolved');
    await rig.pass(600_000, 1000);
    expect(sink.ids).toHaveLength(2);
    expect(replica.sinks.status()).toMatchObject([
      { name: 'hook', kind: 'webhook', healthy: true, waiting: 0, sent: 2n, replicaId: 'r1' },
    ]);
    const [delivery] = replica.sinks.deliveries('default', 'a', await rig.record('a'));
    expect(delivery).toMatchObject({ sink: 'hook', told: 'resolved', done: true });
  });

  it('leaves what another replica sends, and what is for nobody', async () => {
    const rig = new SinksRig();
    const sink = new FakeSink();
    await rig.replica({ sinks: { hook: sink }, configs: [sinkConfig()] });
    await rig.alert('a', { hook: 'firing', unknown: 'firing' });
    await rig.pass(5000);
    expect(sink.tried).toEqual([]);
  });

  it('tries again after a pause that doubles, up to its longest, and shows how the sink is', async () => {
    const { rig, sink, replica } = await one({ retryMaxMs: 8000 });
    sink.behave = down;
    const atMs: number[] = [];
    const startMs = rig.clock.monoMs();
    sink.behave = async () => {
      atMs.push(rig.clock.monoMs() - startMs);
      await down();
    };
    await rig.alert('a', { hook: 'firing' });
    await rig.pass(40_000);
    const pauses = atMs.slice(1).map((ms, index) => ms - (atMs[index] ?? 0));
    for (const [index, expected] of [1000, 2000, 4000, 8000, 8000].entries()) {
      expect(pauses[index]).toBeGreaterThanOrEqual(expected * 0.9);
      expect(pauses[index]).toBeLessThanOrEqual(expected * 1.1 + 100);
    }
    const [status] = replica.sinks.status();
    expect(status).toMatchObject({
      healthy: false,
      failures: atMs.length,
      waiting: 1,
      error: 'sink.example answered 500',
      sent: 0n,
    });
    expect(status?.retryIn && msFromDuration(status.retryIn)).toBeGreaterThan(0);
    const [delivery] = replica.sinks.deliveries('default', 'a', await rig.record('a'));
    expect(delivery).toMatchObject({ done: false, tries: atMs.length, error: 'sink.example answered 500' });
    sink.behave = async () => {};
    await rig.pass(9000);
    expect(sink.ids).toEqual(['a/firing']);
    expect(replica.sinks.status()).toMatchObject([{ healthy: true, failures: 0, error: '', waiting: 0 }]);
    expect(replica.tries.slice(-2)).toEqual(['webhook failed', 'webhook sent']);
  });

  it('waits for as long as the sink asks', async () => {
    const { rig, sink } = await one();
    sink.behave = () => Promise.reject(new SinkError({ message: 'busy', retryAfterMs: 20_000 }));
    await rig.alert('a', { hook: 'firing' });
    await rig.pass(19_500);
    expect(sink.tried).toHaveLength(1);
    await rig.pass(1000);
    expect(sink.tried).toHaveLength(2);
  });

  it('gives up a try that hangs, also one that is deaf to its signal', async () => {
    const { rig, sink, replica } = await one({ timeoutMs: 3000 });
    sink.behave = hanging;
    await rig.alert('a', { hook: 'firing' });
    await rig.pass(2900);
    expect(sink.signals[0]?.aborted).toBe(false);
    await rig.pass(200);
    expect(sink.signals[0]?.aborted).toBe(true);
    expect(replica.sinks.status()).toMatchObject([{ healthy: false, error: 'no answer within 3000 ms' }]);
    sink.behave = async () => {};
    await rig.pass(2000);
    expect(sink.ids).toEqual(['a/firing']);
  });

  it('has a sink that hangs delay no other', async () => {
    const rig = new SinksRig();
    const sinks = { bad: new FakeSink(), good: new FakeSink() };
    sinks.bad.behave = hanging;
    const configs = [sinkConfig({ name: 'bad' }), sinkConfig({ name: 'good' })];
    await rig.give(await rig.replica({ sinks, configs }));
    for (let number = 0; number < 50; number += 1) {
      await rig.alert(`a${number}`, { bad: 'firing', good: 'firing' });
    }
    await settled();
    expect(sinks.good.ids).toHaveLength(50);
    expect(sinks.bad.tried).toHaveLength(sinks.bad.concurrency);
    expect(await rig.told('a49', 'good')).toBe('firing');
    expect(await rig.told('a49', 'bad')).toBe('');
  });

  it('tries a sink that was away with one alert before all the others', async () => {
    const { rig, sink } = await one();
    sink.behave = down;
    for (let number = 0; number < 10; number += 1) await rig.alert(`a${number}`, { hook: 'firing' });
    await settled();
    const before = sink.tried.length;
    sink.behave = hanging;
    await rig.pass(2000);
    expect(sink.tried).toHaveLength(before + 1);
  });

  it('goes on with others while the sink refuses one, and keeps trying that', async () => {
    const { rig, sink, replica } = await one();
    sink.behave = async (what) => {
      if (JSON.stringify(what[0], safe).includes('poison'))
        throw new SinkError({ message: 'bad', refused: true });
    };
    await rig.alert('poison', { hook: 'firing' });
    for (let number = 0; number < 10; number += 1) await rig.alert(`a${number}`, { hook: 'firing' });
    await settled();
    expect(sink.ids).toHaveLength(10);
    await rig.pass(10_000);
    expect(sink.tried.filter(({ alert }) => alert.id === 'poison').length).toBeGreaterThanOrEqual(3);
    expect(replica.sinks.status()).toMatchObject([{ waiting: 1 }]);
  });

  it('splits a batch that was refused, so that only what is wrong in it stays', async () => {
    const rig = new SinksRig();
    const sink = new FakeSink('alertmanager');
    sink.batch = 64;
    sink.concurrency = 1;
    sink.behave = async (what) => {
      if (what.some((each) => JSON.stringify(each, safe).includes('poison')))
        throw new SinkError({ message: 'bad', refused: true });
    };
    const replica = await rig.replica({
      sinks: { hook: sink },
      configs: [sinkConfig({ kind: 'alertmanager' })],
    });
    for (const id of ['a', 'poison', 'b', 'c']) await rig.alert(id, { hook: 'firing' });
    await rig.give(replica);
    await rig.pass(8000);
    expect(new Set(sink.ids)).toEqual(new Set(['a/firing', 'b/firing', 'c/firing']));
  });

  it('stores that it was told although the alert changed while it was sent, and tells the change after it', async () => {
    const { rig, sink } = await one();
    const { passed, open } = gateOf();
    sink.behave = () => passed;
    await rig.alert('a', { hook: 'firing' });
    await settled();
    await rig.alert('a', { hook: 'resolved' }, { summary: 'over' });
    await settled();
    expect(sink.tried).toHaveLength(1);
    open();
    await settled();
    await settled();
    expect(sink.ids).toEqual(['a/firing', 'a/resolved']);
    const record = await rig.record('a');
    expect([record.tellings.hook?.told, record.alert?.summary]).toEqual(['resolved', 'over']);
  });

  it('keeps the reference to the event of its commit when it stores over a change', async () => {
    const { rig, sink } = await one();
    const { passed, open } = gateOf();
    sink.behave = () => passed;
    await rig.alert('a', { hook: 'firing' });
    await settled();
    const record = await rig.record('a');
    if (record.alert !== undefined) record.alert.eventId = '*-0';
    const changed = await rig.store.commit({
      namespace: 'default',
      puts: [{ key: alertKey('a'), value: encodeAlert(record) }],
    });
    open();
    await settled();
    expect(changed.kind === 'committed' && (await rig.record('a')).alert?.eventId).toBe(
      changed.kind === 'committed' && `${changed.revision}-0`,
    );
  });

  it('does not send twice while its view has not seen yet what it stored', async () => {
    const { rig, sink } = await one();
    await rig.alert('a', { hook: 'firing' });
    rig.store.faults.lagging = true;
    await settled();
    await rig.pass(10_000);
    expect(sink.ids).toEqual(['a/firing']);
    rig.store.faults.lagging = false;
    rig.store.catchUp();
    await rig.alert('a', { hook: 'resolved' });
    await settled();
    expect(sink.ids).toEqual(['a/firing', 'a/resolved']);
  });

  it('does not send again while the store is away and cannot take that it was told', async () => {
    const { rig, sink } = await one();
    const { passed, open } = gateOf();
    sink.behave = () => passed;
    await rig.alert('a', { hook: 'firing' });
    await settled();
    rig.store.faults.away = true;
    open();
    await rig.pass(10_000);
    expect(sink.ids).toEqual(['a/firing']);
    rig.store.faults.away = false;
    await rig.pass(2000);
    expect(await rig.told('a')).toBe('firing');
    expect(sink.ids).toEqual(['a/firing']);
  });

  it('does not tell that an alert that could not be stored fires once it is over', async () => {
    const { rig, sink, replica } = await one();
    const alert = sampleAlert({ id: 'store', namespace: '_system' });
    // Others take up all tries.
    const { passed, open } = gateOf();
    sink.behave = () => passed;
    for (let number = 0; number < sink.concurrency; number += 1)
      await rig.alert(`a${number}`, { hook: 'firing' });
    replica.sinks.sendNow(alert, 'firing');
    replica.sinks.takeBack(alert);
    open();
    await rig.pass(5000);
    expect(sink.tried.map(({ event }) => event.id)).not.toContain('store/firing');
    replica.sinks.takeBack(alert);
    await rig.pass(5000);
    expect(sink.ids).toHaveLength(sink.concurrency);
  });

  it('tells the end of an alert that could not be stored after its beginning, which is on its way', async () => {
    const { rig, sink, replica } = await one();
    const alert = sampleAlert({ id: 'store', namespace: '_system' });
    const { passed, open } = gateOf();
    sink.behave = () => passed;
    replica.sinks.sendNow(alert, 'firing');
    await settled();
    replica.sinks.takeBack(alert);
    open();
    await rig.pass(1000);
    expect(sink.ids).toEqual(['store/firing', 'store/resolved']);
    // One that failed may have come all the same.
    sink.behave = down;
    replica.sinks.sendNow({ ...alert, id: 'second' }, 'firing');
    await settled();
    replica.sinks.takeBack({ ...alert, id: 'second' });
    sink.behave = async () => {};
    await rig.pass(5000);
    expect(sink.ids.slice(2)).toEqual(['second/resolved']);
  });

  it('tells an alert that cannot be stored, once, and what it becomes', async () => {
    const { rig, sink, replica } = await one({ minSeverity: 'critical' });
    rig.store.faults.away = true;
    const alert = sampleAlert({ id: 'store', namespace: '_system' });
    sink.behave = down;
    replica.sinks.sendNow(alert, 'firing');
    await settled();
    sink.behave = async () => {};
    await rig.pass(3000);
    expect(sink.ids).toEqual(['store/firing']);
    replica.sinks.sendNow(alert, 'resolved');
    replica.sinks.sendNow({ ...alert, id: 'minor', severity: AlertSeverity.WARNING }, 'firing');
    await rig.pass(1000);
    expect(sink.ids).toEqual(['store/firing', 'store/resolved']);
  });
});

describe('the sending replica', () => {
  async function two() {
    const rig = new SinksRig();
    const sink = new FakeSink();
    const shared = { sinks: { hook: sink }, configs: [sinkConfig()] };
    const r1 = await rig.replica({ ...shared, replicaId: 'r1' });
    const r2 = await rig.replica({ ...shared, replicaId: 'r2' });
    await rig.give(r1);
    return { rig, sink, r1, r2 };
  }

  it.each(['firing', 'resolved'] as const)(
    'that dies between sending that it is %s and storing it has it sent again under the same id',
    async (want) => {
      const { rig, sink, r1, r2 } = await two();
      if (want === 'resolved') {
        await rig.alert('a', { hook: 'firing' });
        await settled();
      }
      sink.behave = async () => r1.die();
      await rig.alert('a', { hook: want });
      await settled();
      expect(sink.ids.at(-1)).toBe(`a/${want}`);
      expect(await rig.told('a')).not.toBe(want);
      sink.behave = async () => {};
      const before = sink.ids.length;
      await rig.give(r2);
      await rig.pass(1100);
      expect(sink.ids.slice(before)).toEqual([`a/${want}`]);
      expect(await rig.told('a')).toBe(want);
      await rig.pass(10_000);
      expect(sink.ids).toHaveLength(before + 1);
    },
  );

  it('that dies before it could send loses nothing', async () => {
    const { rig, sink, r1, r2 } = await two();
    sink.behave = down;
    await rig.alert('a', { hook: 'firing' });
    await settled();
    r1.die();
    sink.behave = async () => {};
    await rig.give(r2);
    await rig.pass(1100);
    expect(sink.ids).toEqual(['a/firing']);
  });

  it('that was replaced without noticing stores nothing', async () => {
    const { rig, sink, r1, r2 } = await two();
    const { passed, open } = gateOf();
    sink.behave = () => passed;
    await rig.alert('a', { hook: 'firing' });
    await settled();
    await rig.give(r2);
    open();
    sink.behave = async () => {};
    await rig.pass(2000);
    expect(sink.ids).toEqual(['a/firing', 'a/firing']);
    expect(await rig.told('a')).toBe('firing');
    expect([r1, r2].map(({ tries }) => tries.length)).toEqual([1, 1]);
  });

  it('has the sink shown by the others as it sees it, until it is gone', async () => {
    const { rig, sink, r1, r2 } = await two();
    sink.behave = down;
    await rig.alert('a', { hook: 'firing' });
    await rig.pass(1100);
    expect(r2.sinks.status()).toMatchObject([
      { name: 'hook', healthy: false, waiting: 1, replicaId: 'r1', error: 'sink.example answered 500' },
    ]);
    r1.die();
    expect(r2.sinks.status()).toMatchObject([{ name: 'hook', healthy: true, waiting: 0, replicaId: 'r2' }]);
  });
});

describe('a sink that forgets', () => {
  async function alertmanager() {
    const rig = new SinksRig();
    const sink = new FakeSink('alertmanager');
    Object.assign(sink, { batch: 64, concurrency: 1, resends: true });
    const shared = { sinks: { hook: sink }, configs: [sinkConfig({ kind: 'alertmanager' })] };
    const r1 = await rig.replica({ ...shared, replicaId: 'r1' });
    await rig.give(r1);
    return { rig, sink, r1, shared };
  }

  it('hears every minute of what fires, together, and three times that it is over', async () => {
    const { rig, sink } = await alertmanager();
    await rig.alert('a', { hook: 'firing' });
    await rig.alert('b', { hook: 'firing' });
    await settled();
    const commits = rig.store.commits.length;
    await rig.pass(305_000, 500);
    expect(sink.ids.filter((id) => id === 'a/firing')).toHaveLength(6);
    expect(sink.signals.length).toBeLessThanOrEqual(2 + 5);
    expect(rig.store.commits.length).toBe(commits);
    await rig.alert('a', { hook: 'resolved' });
    await rig.pass(600_000, 500);
    expect(sink.ids.filter((id) => id === 'a/resolved')).toHaveLength(3);
    expect(sink.ids.filter((id) => id === 'a/firing')).toHaveLength(6);
  });

  it('hears that an alert is over although that comes while it is told once more that it fires', async () => {
    const { rig, sink } = await alertmanager();
    await rig.alert('a', { hook: 'firing' });
    await settled();
    const { passed, open } = gateOf();
    sink.behave = () => passed;
    await rig.pass(61_000, 500);
    expect(sink.tried).toHaveLength(2);
    await rig.alert('a', { hook: 'resolved' });
    await settled();
    open();
    await settled();
    await settled();
    expect(sink.ids).toEqual(['a/firing', 'a/firing', 'a/resolved']);
    expect(await rig.told('a')).toBe('resolved');
  });

  it('is not told once more that an alert is over when the same fires again under another id', async () => {
    const { rig, sink, r1, shared } = await alertmanager();
    const same = { rule: 'agent_lost', labels: { agent_id: 'a1' } };
    await rig.alert('old', { hook: 'firing' }, same);
    await settled();
    await rig.alert('old', { hook: 'resolved' }, same);
    await settled();
    await rig.alert('other', { hook: 'firing' }, { ...same, labels: { agent_id: 'a2' } });
    await settled();
    await rig.pass(61_000, 500);
    expect(sink.ids.filter((id) => id === 'old/resolved')).toHaveLength(2);
    await rig.alert('new', { hook: 'firing' }, same);
    await settled();
    await rig.pass(120_000, 500);
    r1.die();
    await rig.give(await rig.replica({ ...shared, replicaId: 'r2' }));
    await rig.pass(120_000, 500);
    expect(sink.ids.filter((id) => id === 'old/resolved')).toHaveLength(2);
    expect(sink.ids.filter((id) => id === 'new/firing').length).toBeGreaterThan(3);
  });

  it('hears from the replica that takes over of the end of an alert before the same that fires again', async () => {
    const { rig, sink, r1, shared } = await alertmanager();
    const same = { rule: 'agent_lost', labels: { agent_id: 'a1' } };
    r1.die();
    await rig.alert('b-new', { hook: 'firing' }, same);
    await rig.alert('c-old', { hook: 'resolved' }, same);
    await rig.give(await rig.replica({ ...shared, replicaId: 'r2' }));
    await rig.pass(1100);
    expect(sink.ids).toEqual(['c-old/resolved', 'b-new/firing']);
  });

  it('hears from the replica that takes over that an alert is over, as often as it would have', async () => {
    const { rig, sink, r1, shared } = await alertmanager();
    await rig.alert('a', { hook: 'firing' });
    await settled();
    await rig.alert('a', { hook: 'resolved' });
    await settled();
    r1.die();
    await rig.give(await rig.replica({ ...shared, replicaId: 'r2' }));
    await rig.pass(600_000, 500);
    expect(sink.ids.filter((id) => id === 'a/resolved')).toHaveLength(3);
  });

  it('hears of it at once from the replica that takes over, before it takes it for over', async () => {
    const { rig, sink, r1, shared } = await alertmanager();
    await rig.alert('a', { hook: 'firing' });
    await settled();
    r1.die();
    const r2 = await rig.replica({ ...shared, replicaId: 'r2' });
    await rig.give(r2);
    await rig.pass(1100);
    expect(sink.ids).toEqual(['a/firing', 'a/firing']);
  });
});

const safe = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? `${value}` : value);
