import { afterEach, describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { durationFromMs } from '../../../src/lib/proto-time.ts';
import { startFleet, type TestFleet, type TestFleetOptions } from './fleet-fixture.ts';

const { CONNECTED, DISCONNECTED, LOST, LEFT } = Agent_Liveness;

const fleets: TestFleet[] = [];
async function start(options: TestFleetOptions = {}): Promise<TestFleet> {
  const fleet = await startFleet(options);
  fleets.push(fleet);
  return fleet;
}
afterEach(async () => {
  for (const fleet of fleets.splice(0)) await fleet.stop();
});

describe('agents that nobody holds', () => {
  it('are DISCONNECTED after a restart, LOST after the recovery grace if they stay away, and well if they return', async () => {
    const before = await start();
    const tokens: Record<string, string> = {};
    for (const id of ['stays', 'returns', 'left']) tokens[id] = await before.register(id);
    for (const id of ['stays', 'returns', 'left']) {
      const { session } = await before.attach(id, tokens[id] ?? '');
      if (id === 'left') await before.sessions.left(session, '');
    }
    await before.stop();
    const fleet = await start({ data: before.store.data, clock: before.clock, seed: 5 });
    await fleet.pass(3_900);
    await fleet.tend();
    await fleet.settle();
    // They could not be back yet.
    expect(fleet.liveness('stays')).toBe(CONNECTED);
    await fleet.pass(200);
    await fleet.tend();
    await fleet.settle();
    expect(['stays', 'returns', 'left'].map(fleet.liveness)).toEqual([DISCONNECTED, DISCONNECTED, LEFT]);
    await fleet.attach('returns', tokens.returns ?? '', { answers: true });
    for (let round = 0; round < 10; round += 1) {
      await fleet.pass(5_900);
      await fleet.tend();
    }
    expect(fleet.liveness('stays')).toBe(DISCONNECTED);
    await fleet.pass(32_000);
    await fleet.settle();
    expect(['stays', 'returns', 'left'].map(fleet.liveness)).toEqual([LOST, CONNECTED, LEFT]);
    expect(fleet.types('stays')).toEqual([
      'agent.connected',
      'agent.disconnected',
      'agent.lost',
      'agent.loss_handled',
    ]);
    expect(
      fleet
        .events('stays')
        .map(({ verdict }) => verdict?.rule)
        .slice(-3, -1),
    ).toEqual(['orphaned', 'orphaned']);
  });

  it('of a large fleet are taken on in portions, so that those who return meanwhile need no verdict', async () => {
    const before = await start();
    const ids = Array.from({ length: 250 }, (_, index) => `a${index}`);
    const tokens = await Promise.all(ids.map((id) => before.register(id)));
    for (const [index, id] of ids.entries()) await before.attach(id, tokens[index] ?? '');
    await before.stop();
    const fleet = await start({ data: before.store.data, clock: before.clock });
    await fleet.pass(4_000);
    const disconnected = () => ids.filter((id) => fleet.liveness(id) === DISCONNECTED).length;
    await fleet.tend();
    await fleet.settle();
    expect(disconnected()).toBe(100);
    for (const [index, id] of ids.entries()) {
      if (index < 200 && fleet.liveness(id) === CONNECTED) {
        await fleet.attach(id, tokens[index] ?? '', { answers: true });
      }
    }
    await fleet.tend();
    await fleet.settle();
    const gone = ids.filter((id) => fleet.liveness(id) === DISCONNECTED);
    expect(gone).toHaveLength(150);
    expect(gone).toEqual(expect.arrayContaining(ids.slice(200)));
  });

  it('stay with another replica that is alive, and are taken on when it is gone', async () => {
    const holder = await start({ replicaId: 'replica-2' });
    const token = await holder.register('a1');
    await holder.attach('a1', token);
    let alive = true;
    const fleet = await start({ data: holder.store.data, clock: holder.clock, replicaAlive: () => alive });
    await fleet.pass(4_000);
    await fleet.tend();
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(CONNECTED);
    alive = false;
    await fleet.tend();
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(DISCONNECTED);
  });

  it('are not those whom this replica sends away because it leaves', async () => {
    const fleet = await start();
    const token = await fleet.register('a1');
    await fleet.attach('a1', token, { answers: true });
    await fleet.sessions.leave(0);
    await fleet.tend();
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(CONNECTED);
  });

  it('are not LOST when their replica turns out to be alive', async () => {
    const holder = await start({ replicaId: 'replica-2' });
    const token = await holder.register('a1');
    await holder.attach('a1', token);
    let alive = false;
    const fleet = await start({ data: holder.store.data, clock: holder.clock, replicaAlive: () => alive });
    await fleet.tend();
    await fleet.settle();
    alive = true;
    await fleet.pass(100_000);
    await fleet.settle();
    expect(fleet.liveness('a1')).not.toBe(LOST);
  });

  it('that another replica took for gone are CONNECTED again at the one that holds them', async () => {
    const holder = await start({ replicaId: 'replica-2' });
    const token = await holder.register('a1');
    await holder.attach('a1', token, { answers: true });
    const fleet = await start({ data: holder.store.data, clock: holder.clock });
    await fleet.store.follow({
      snapshot: () => {},
      live: () => {},
      batch: (batch) => holder.directory.apply(batch),
    });
    await fleet.tend();
    await fleet.settle();
    await holder.settle();
    expect(holder.liveness('a1')).toBe(CONNECTED);
    expect(holder.sessions.size).toBe(1);
  });

  it('are not those who are attaching right now', async () => {
    const fleet = await start();
    const token = await fleet.register('a1');
    fleet.store.faults.answer = async (commit) => {
      if (commit.puts === undefined) return;
      fleet.store.faults.answer = undefined;
      // The view has heard of the commit; its caller has not.
      await fleet.tend();
    };
    await fleet.attach('a1', token, { answers: true });
    await fleet.settle();
    await fleet.pass(1_000);
    expect(fleet.liveness('a1')).toBe(CONNECTED);
    expect(fleet.types('a1')).toEqual(['agent.connected']);
  });

  it('are forgotten when their time is over, and not a moment sooner, nor when they came back', async () => {
    const fleet = await start();
    const spec = { forgetAfter: durationFromMs(60_000) };
    const tokens = {
      gone: await fleet.register('gone', spec),
      back: await fleet.register('back', spec),
      kept: await fleet.register('kept'),
    };
    for (const [id, token] of Object.entries(tokens)) {
      await fleet.sessions.left((await fleet.attach(id, token)).session, '');
    }
    await fleet.pass(59_900);
    await fleet.tend();
    expect(fleet.record('gone')).toBeDefined();
    await fleet.attach('back', tokens.back, { answers: true });
    await fleet.pass(200);
    await fleet.tend();
    expect([
      fleet.record('gone'),
      fleet.record('back') !== undefined,
      fleet.record('kept') !== undefined,
    ]).toEqual([undefined, true, true]);
    expect(fleet.types('gone').at(-1)).toBe('agent.forgotten');
  });
});
