import { afterEach, describe, expect, it, vi } from 'vitest';
import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { GoAway_Reason } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
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

describe('an agent whose stream broke', () => {
  it('is DISCONNECTED at once and LOST after the grace, each once, with event and evidence', async () => {
    const fleet = await start();
    const token = await fleet.register('a1');
    const { session } = await fleet.attach('a1', token, { answers: true });
    await fleet.pass(10_000);
    fleet.sessions.lost(session, 'the stream broke');
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(DISCONNECTED);
    expect(fleet.record('a1')?.agent?.verdict).toMatchObject({
      rule: 'stream_closed',
      detail: 'the stream broke',
      replicaId: 'replica-1',
    });
    await fleet.pass(29_900);
    expect(fleet.liveness('a1')).toBe(DISCONNECTED);
    await fleet.pass(200);
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(LOST);
    expect(fleet.record('a1')?.goneTime).toBeDefined();
    expect(fleet.types('a1')).toEqual(['agent.connected', 'agent.disconnected', 'agent.lost']);
    expect(fleet.events('a1').at(-1)?.verdict).toMatchObject({
      rule: 'reconnect_grace',
      epoch: session.epoch,
    });
  });

  it('is never LOST before its lease, however short the grace', async () => {
    const fleet = await start({ flags: { 'session.reconnect-grace': '1s' } });
    const token = await fleet.register('a1');
    const { session } = await fleet.attach('a1', token, { answers: true });
    await fleet.pass(10_000);
    const silentMs = fleet.clock.monoMs() - session.lastHeardMs;
    fleet.sessions.lost(session, 'the stream broke');
    await fleet.pass(29_900 - silentMs);
    expect(fleet.liveness('a1')).toBe(DISCONNECTED);
    await fleet.pass(200);
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(LOST);
  });

  it('that is back in time is not LOST, and that is back later has recovered', async () => {
    const fleet = await start();
    const token = await fleet.register('a1');
    fleet.sessions.lost((await fleet.attach('a1', token)).session, 'broke');
    await fleet.pass(20_000);
    const { session } = await fleet.attach('a1', token, { answers: true });
    await fleet.pass(60_000);
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(CONNECTED);
    fleet.sessions.lost(session, 'broke');
    await fleet.pass(40_000);
    await fleet.settle();
    await fleet.attach('a1', token);
    expect(fleet.types('a1').slice(-3)).toEqual(['agent.disconnected', 'agent.lost', 'agent.recovered']);
  });

  it('gets a longer grace when this process stood still', async () => {
    const fleet = await start();
    const token = await fleet.register('a1');
    fleet.sessions.lost((await fleet.attach('a1', token)).session, 'broke');
    await fleet.pass(10_000);
    fleet.stall(25_000);
    await fleet.pass(19_000);
    expect(fleet.liveness('a1')).toBe(DISCONNECTED);
    await fleet.pass(2_000);
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(LOST);
  });
});

describe('a goodbye', () => {
  it('is LEFT once it is stored, and starts no grace', async () => {
    const fleet = await start();
    const token = await fleet.register('a1');
    const { session } = await fleet.attach('a1', token);
    await fleet.sessions.left(session, 'done for today');
    expect(fleet.liveness('a1')).toBe(LEFT);
    expect(fleet.record('a1')?.agent?.verdict?.detail).toContain('done for today');
    await fleet.pass(120_000);
    expect([fleet.liveness('a1'), fleet.absences.size]).toEqual([LEFT, 0]);
  });

  it('is stored also when this replica has not heard yet of the attachment', async () => {
    const fleet = await start();
    const token = await fleet.register('a1');
    fleet.store.faults.lagging = true;
    const { session } = await fleet.attach('a1', token);
    await fleet.sessions.left(session, 'at once');
    expect(fleet.liveness('a1')).toBe(LEFT);
    expect(fleet.types('a1')).toEqual(['agent.connected', 'agent.left']);
  });
});

describe('leaving', () => {
  it('sends the sessions away evenly over the spread, each with a time to come back', async () => {
    const fleet = await start();
    const lines = [];
    for (let index = 0; index < 20; index += 1) {
      const token = await fleet.register(`a${index}`);
      lines.push((await fleet.attach(`a${index}`, token)).line);
    }
    const startedMs = fleet.clock.monoMs();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      let left = false;
      void fleet.sessions.leave(2_000).then(() => (left = true));
      while (!left) {
        fleet.clock.advance(10);
        await vi.advanceTimersByTimeAsync(10);
      }
    } finally {
      vi.useRealTimers();
    }
    const offsets = lines.map(({ goAways }) => (goAways[0]?.atMs ?? Number.NaN) - startedMs);
    expect(lines.map(({ goAways }) => goAways.length)).toEqual(Array(20).fill(1));
    expect(Math.max(...offsets)).toBeLessThanOrEqual(2_000 + 200);
    expect(Math.max(...offsets)).toBeGreaterThanOrEqual(1_500);
    expect(offsets.filter((offset) => offset < 1_000).length).toBeLessThanOrEqual(11);
    for (const { goAways } of lines) {
      expect(goAways[0]?.reason).toBe(GoAway_Reason.SHUTDOWN);
      expect(goAways[0]?.reconnectAfterMs).toBeGreaterThanOrEqual(500);
    }
    expect(fleet.sessions.size).toBe(0);
  });
});
