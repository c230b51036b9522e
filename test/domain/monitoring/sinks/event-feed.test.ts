import { describe, expect, it } from 'vitest';
import { EVENT_SERIES, readEvent } from '../../../../src/domain/monitoring/events.ts';
import { SinkError } from '../../../../src/domain/monitoring/sinks/ports.ts';
import { FakeSink, gateOf, type ReplicaOptions, SinksRig, settled, sinkConfig } from './sinks-fixture.ts';

const DAY_MS = 86_400_000;

async function feed(events: readonly string[] = ['agent.*'], more: Partial<ReplicaOptions> = {}) {
  const rig = new SinksRig();
  const sink = new FakeSink();
  const shared = { sinks: { hook: sink }, configs: [sinkConfig({ events })], ...more };
  const r1 = await rig.replica({ ...shared, replicaId: 'r1' });
  await rig.give(r1);
  await rig.pass(1100);
  return { rig, sink, r1, shared };
}

const down = (): Promise<void> => Promise.reject(new SinkError({ message: 'away' }));
const typesOf = (sink: FakeSink): string[] => sink.events.map(({ type }) => type.replace(/.*\.event\./, ''));

async function storedEvents(rig: SinksRig) {
  const entries = await rig.store.readSeries('default', EVENT_SERIES, { limit: 1000 });
  return entries.map((entry) => readEvent('default', entry, entry.value));
}

describe('a feed of events', () => {
  it('sends those that the sink wants at once and in order, as CloudEvents', async () => {
    const { rig, sink } = await feed();
    await rig.happen(['agent.lost', 'task.failed', 'agent.left']);
    await settled();
    await settled();
    expect(typesOf(sink)).toEqual(['agent.lost', 'agent.left']);
    const [event] = await storedEvents(rig);
    expect(sink.events[0]).toEqual({
      specversion: '1.0',
      id: `default/${rig.clock.wallMs()}/${event?.id}`,
      source: '/mycosoft/orchestrator/default',
      type: 'mycosoft.orchestrator.event.agent.lost',
      time: new Date(rig.clock.wallMs()).toISOString(),
      datacontenttype: 'application/json',
      data: expect.objectContaining({ id: event?.id, namespace: 'default', message: 'it is agent.lost' }),
    });
  });

  it('begins with what happened a minute before the start, also in a namespace that is new', async () => {
    const rig = new SinksRig();
    const sink = new FakeSink();
    await rig.happen(['agent.old']);
    await rig.pass(61_000, 1000);
    await rig.happen(['agent.recent']);
    const r1 = await rig.replica({ sinks: { hook: sink }, configs: [sinkConfig({ events: ['*'] })] });
    await rig.give(r1);
    await rig.pass(1100);
    await rig.happen(['agent.first'], 'new');
    await rig.give(r1, 'new');
    await rig.pass(1100);
    expect(typesOf(sink)).toEqual(['agent.recent', 'agent.first']);
  });

  it('goes on where it was when the sink is back, with nothing lost or out of order', async () => {
    const { rig, sink, r1 } = await feed();
    await rig.happen(['agent.1']);
    await settled();
    sink.behave = down;
    for (let number = 2; number <= 400; number += 1) await rig.happen([`agent.${number}`]);
    await rig.pass(5000);
    expect(typesOf(sink)).toEqual(['agent.1']);
    const [status] = r1.sinks.status();
    expect(status?.waiting).toBeGreaterThan(0);
    sink.behave = async () => {};
    await rig.pass(20_000);
    expect(typesOf(sink)).toEqual(Array.from({ length: 400 }, (_, index) => `agent.${index + 1}`));
    expect(r1.sinks.status()).toMatchObject([{ waiting: 0, healthy: true }]);
  });

  it('is taken over by another replica in order, each event once more at most', async () => {
    const { rig, sink, r1, shared } = await feed();
    for (let number = 1; number <= 30; number += 1) {
      await rig.happen([`agent.${number}a`, `agent.${number}b`]);
      await rig.pass(100);
    }
    const { passed } = gateOf();
    sink.behave = () => passed;
    await rig.happen(['agent.31']);
    r1.die();
    const sentBefore = typesOf(sink).length;
    sink.behave = async () => {};
    const r2 = await rig.replica({ ...shared, replicaId: 'r2' });
    await rig.give(r2);
    await rig.pass(1500);
    const again = typesOf(sink).slice(sentBefore);
    const all = Array.from({ length: 30 }, (_, index) => [
      `agent.${index + 1}a`,
      `agent.${index + 1}b`,
    ]).flat();
    all.push('agent.31');
    // It goes on within what was sent in the last half second, and misses nothing from there.
    expect(again).toEqual(all.slice(-again.length));
    expect(again.length).toBeLessThanOrEqual(1 + 2 * 6);
    const ids = sink.events.map(({ id }) => id);
    expect(new Set(ids).size).toBe(all.length);
  });

  it('stores how far it came when it is closed', async () => {
    const { rig, sink, r1, shared } = await feed();
    await rig.happen(['agent.1']);
    await settled();
    await rig.happen(['agent.2']);
    await settled();
    await r1.sinks.close();
    r1.die();
    await rig.give(await rig.replica({ ...shared, replicaId: 'r2' }));
    await rig.pass(3000);
    expect(typesOf(sink)).toEqual(['agent.1', 'agent.2']);
  });

  it('keeps up with ten thousand events in a second, in bounded memory and with few commits', async () => {
    const { rig, sink } = await feed();
    const commits = rig.store.commits.length;
    for (let batch = 0; batch < 100; batch += 1) {
      await rig.happen(Array.from({ length: 100 }, (_, index) => `agent.${batch * 100 + index}`));
    }
    for (let turn = 0; turn < 2000 && sink.events.length < 10_000; turn += 1) await settled();
    expect(typesOf(sink)).toEqual(Array.from({ length: 10_000 }, (_, index) => `agent.${index}`));
    await rig.pass(2000);
    expect(rig.store.commits.length - commits).toBeLessThanOrEqual(100 + 5);
  });

  it('does not keep alerts waiting', async () => {
    const { rig, sink } = await feed();
    sink.behave = async (what) => {
      if ('specversion' in (what[0] ?? {})) await new Promise(() => {});
    };
    await rig.happen(['agent.lost', 'agent.left']);
    await rig.alert('a', { hook: 'firing' });
    await settled();
    expect(sink.ids).toEqual(['a/firing']);
  });

  it('that fails does not keep alerts waiting for its pauses, and shows that it fails', async () => {
    const { rig, sink, r1 } = await feed();
    sink.behave = async (what) => {
      if ('specversion' in (what[0] ?? {})) throw new SinkError({ message: 'answered 500' });
    };
    await rig.happen(['agent.lost']);
    await rig.pass(20_000);
    await rig.alert('a', { hook: 'firing' });
    await settled();
    expect(sink.ids).toEqual(['a/firing']);
    expect(r1.sinks.status()).toMatchObject([{ healthy: false, error: 'answered 500', waiting: 1 }]);
  });

  it('waits while alerts are not taken', async () => {
    const { rig, sink } = await feed();
    let events = 0;
    sink.behave = async (what) => {
      if ('specversion' in (what[0] ?? {})) events += 1;
      throw new SinkError({ message: 'answered 500' });
    };
    await rig.alert('a', { hook: 'firing' });
    await settled();
    await rig.happen(['agent.lost']);
    await settled();
    expect(events).toBe(0);
  });

  it('passes over an event that the sink refuses again and again, and says so', async () => {
    const { rig, sink } = await feed(['agent.*', 'sink.*']);
    sink.behave = async (what) => {
      const [event] = what;
      if (event !== undefined && 'type' in event && /poison|refused/.test(event.type))
        throw new SinkError({ message: 'answered 400: no', refused: true });
    };
    await rig.happen(['agent.1', 'agent.poison', 'agent.2']);
    await rig.pass(60_000);
    expect(typesOf(sink)).toEqual(['agent.1', 'agent.2']);
    const told = (await storedEvents(rig)).filter(({ type }) => type === 'sink.refused');
    expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({ attributes: { sink: 'hook', type: 'agent.poison' } });
  });

  it('waits, and passes over nothing, where the sink refuses whoever asks', async () => {
    const { rig, sink } = await feed();
    sink.behave = () => Promise.reject(new SinkError({ message: 'answered 401' }));
    await rig.happen(['agent.1']);
    await rig.pass(600_000, 1000);
    sink.behave = async () => {};
    await rig.pass(61_000, 1000);
    expect(typesOf(sink)).toEqual(['agent.1']);
  });

  it('says to the sink what it missed when that is not kept any more', async () => {
    const { rig, sink } = await feed(['agent.*'], { retentionMs: DAY_MS });
    await rig.happen(['agent.1']);
    await rig.pass(1000);
    sink.behave = down;
    await rig.happen(['agent.2']);
    await rig.pass(2 * DAY_MS, 600_000);
    await rig.store.trimSeries('default', EVENT_SERIES, rig.clock.wallMs() - DAY_MS, 1000);
    await rig.happen(['agent.3']);
    sink.behave = async () => {};
    await rig.pass(120_000, 1000);
    expect(typesOf(sink)).toEqual(['agent.1', 'agent.3', 'sink.gap']);
    expect(sink.events.at(-1)?.data).toMatchObject({ attributes: { sink: 'hook' } });
    await rig.pass(3 * DAY_MS, 600_000);
    expect(typesOf(sink)).toHaveLength(3);
  });

  it('says nothing of a gap after a long time in which nothing happened', async () => {
    const { rig, sink, r1, shared } = await feed(['agent.*'], { retentionMs: DAY_MS });
    await rig.happen(['agent.1']);
    await rig.pass(1000);
    await rig.pass(3 * DAY_MS, 600_000);
    r1.die();
    await rig.give(await rig.replica({ ...shared, replicaId: 'r2' }));
    await rig.happen(['agent.2']);
    await rig.pass(2000);
    expect(typesOf(sink)).toEqual(['agent.1', 'agent.2']);
  });

  it('goes on from what the store has after a failover', async () => {
    const { rig, sink } = await feed();
    await rig.happen(['agent.1']);
    await rig.pass(1000);
    rig.store.promote();
    await rig.happen(['agent.2']);
    await rig.pass(2000);
    expect(typesOf(sink)).toEqual(['agent.1', 'agent.2']);
  });

  it('tells only what happens in namespaces that the sink wants', async () => {
    const rig = new SinksRig();
    const sink = new FakeSink();
    const config = sinkConfig({ events: ['*'], namespaces: ['wanted'] });
    const r1 = await rig.replica({ sinks: { hook: sink }, configs: [config] });
    for (const namespace of ['wanted', 'other']) {
      await rig.give(r1, namespace);
      await rig.happen([`agent.${namespace}`], namespace);
    }
    await rig.pass(1100);
    expect(typesOf(sink)).toEqual(['agent.wanted']);
  });
});
