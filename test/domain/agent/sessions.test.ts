import { create } from '@bufbuild/protobuf';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  DeregisterAgentRequestSchema,
  RegisterAgentRequestSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { GoAway_Reason } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { durationFromMs } from '../../../src/lib/proto-time.ts';
import { rejection, startFleet, type TestFleet, type TestFleetOptions, turns } from './fleet-fixture.ts';

const { CONNECTED, SUSPECT, DISCONNECTED, LOST, LEFT } = Agent_Liveness;
const anonymous = { principal: 'anonymous', token: undefined };

const fleets: TestFleet[] = [];
async function start(options: TestFleetOptions = {}): Promise<TestFleet> {
  const fleet = await startFleet(options);
  fleets.push(fleet);
  return fleet;
}
afterEach(async () => {
  for (const fleet of fleets.splice(0)) await fleet.stop();
});

const reasons = (goAways: { reason: GoAway_Reason }[]) => goAways.map(({ reason }) => reason);

describe('a session', () => {
  it('supersedes the one before, which is sent away for good, and a twin is an event with both addresses', async () => {
    const fleet = await start();
    const token = await fleet.register('a1');
    const first = await fleet.attach('a1', token, { instanceId: 'p1', peer: '192.0.2.1:1' });
    const second = await fleet.attach('a1', token, { instanceId: 'p2', peer: '192.0.2.2:2' });
    await fleet.settle();
    expect(second.session.epoch).toBeGreaterThan(first.session.epoch);
    expect(first.session.ended).toBe(true);
    expect(first.line.goAways).toHaveLength(1);
    expect(first.line.goAways[0]).toMatchObject({
      reason: GoAway_Reason.SUPERSEDED,
      reconnectAfterMs: undefined,
    });
    expect(second.line.goAways).toEqual([]);
    const twin = fleet.events('a1').find(({ type }) => type === 'agent.twin');
    expect(twin?.attributes).toMatchObject({ peer: '192.0.2.2:2', superseded_peer: '192.0.2.1:1' });
    expect([fleet.sessions.size, fleet.liveness('a1')]).toEqual([1, CONNECTED]);
  });

  it('that was superseded changes nothing any more: its stream closing is no news', async () => {
    const fleet = await start();
    const token = await fleet.register('a1');
    const first = await fleet.attach('a1', token);
    await fleet.attach('a1', token);
    fleet.sessions.lost(first.session, 'the stream broke');
    await fleet.sessions.left(first.session, 'bye');
    await fleet.settle();
    expect([fleet.liveness('a1'), fleet.absences.size]).toEqual([CONNECTED, 0]);
    expect(fleet.types('a1')).toEqual(['agent.connected', 'agent.connected']);
  });

  it('ends when its agent is deregistered, taken over, or attached at another replica', async () => {
    const fleet = await start();
    const other = await start({
      data: fleet.store.data,
      clock: fleet.clock,
      replicaId: 'replica-2',
      seed: 9,
    });
    // Both replicas hear of every commit, whoever made it.
    for (const [from, to] of [
      [fleet, other],
      [other, fleet],
    ] as const) {
      await from.store.follow({
        snapshot: () => {},
        live: () => {},
        batch: (batch) => {
          for (const view of [to.directory]) view.apply(batch);
        },
      });
    }
    const tokens = {
      gone: await fleet.register('gone'),
      taken: await fleet.register('taken'),
      moved: await fleet.register('moved'),
    };
    const gone = await fleet.attach('gone', tokens.gone);
    const taken = await fleet.attach('taken', tokens.taken);
    const moved = await fleet.attach('moved', tokens.moved);
    await fleet.agents.deregister(create(DeregisterAgentRequestSchema, { agentId: 'gone' }), anonymous);
    await fleet.agents.register(
      create(RegisterAgentRequestSchema, { agentId: 'taken', takeover: true }),
      anonymous,
    );
    await other.attach('moved', tokens.moved, { peer: '192.0.2.9:9' });
    await turns();
    expect(reasons(gone.line.goAways)).toEqual([GoAway_Reason.REVOKED]);
    expect(reasons(taken.line.goAways)).toEqual([GoAway_Reason.SUPERSEDED]);
    expect(reasons(moved.line.goAways)).toEqual([GoAway_Reason.SUPERSEDED]);
    expect(moved.line.goAways[0]?.detail).toContain('192.0.2.9:9');
    expect([fleet.sessions.size, other.sessions.size]).toEqual([0, 1]);
  });

  it('is refused with another token, for an unknown agent, beyond the limit and while leaving', async () => {
    const fleet = await start({ flags: { 'limits.max-sessions': '1' } });
    const token = await fleet.register('a1');
    const second = await fleet.register('a2');
    expect(await rejection(fleet.attach('a1', second))).toMatchObject({ reason: ErrorReason.TOKEN_INVALID });
    expect(await rejection(fleet.attach('nobody', token))).toMatchObject({
      reason: ErrorReason.AGENT_NOT_FOUND,
    });
    await fleet.attach('a1', token);
    expect(await rejection(fleet.attach('a2', second))).toMatchObject({ reason: ErrorReason.LIMIT_REACHED });
    await fleet.sessions.leave(0);
    expect(await rejection(fleet.attach('a1', token))).toMatchObject({ reason: ErrorReason.SHUTTING_DOWN });
  });

  it('finds its record in the store when this replica lags behind, and news from before do not end it', async () => {
    const fleet = await start();
    fleet.store.faults.lagging = true;
    const token = await fleet.register('a1');
    const first = await fleet.attach('a1', token);
    const second = await fleet.attach('a1', token);
    expect(second.session.epoch).toBeGreaterThan(first.session.epoch);
    fleet.store.catchUp();
    fleet.store.faults.lagging = false;
    await turns();
    expect(second.line.goAways).toEqual([]);
    expect(fleet.sessions.get('default', 'a1')).toBe(second.session);
  });

  it('is not begun at all when a newer one attached elsewhere before its commit was answered', async () => {
    const fleet = await start();
    const token = await fleet.register('a1');
    const elsewhere = await start({
      data: fleet.store.data,
      clock: fleet.clock,
      replicaId: 'replica-2',
      seed: 9,
    });
    await elsewhere.store.follow({
      snapshot: () => {},
      live: () => {},
      batch: (batch) => fleet.directory.apply(batch),
    });
    fleet.store.faults.answer = async () => {
      fleet.store.faults.answer = undefined;
      await elsewhere.attach('a1', token, { peer: '192.0.2.9:9' });
    };
    const attached = await fleet.attach('a1', token).catch((error: unknown) => error);
    await turns();
    expect(fleet.sessions.size).toBe(0);
    if (attached instanceof Error) expect(attached).toMatchObject({ reason: ErrorReason.SESSION_SUPERSEDED });
    else
      expect(reasons((attached as Awaited<ReturnType<TestFleet['attach']>>).line.goAways)).toEqual([
        GoAway_Reason.SUPERSEDED,
      ]);
  });

  it('counts the share in trouble by sessions that are SUSPECT, whatever becomes of the others', async () => {
    const fleet = await start();
    const tokens = await Promise.all(['a1', 'a2', 'a3', 'a4'].map((id) => fleet.register(id)));
    const sessions = [];
    for (const [index, token] of tokens.entries()) {
      sessions.push(await fleet.attach(`a${index + 1}`, token, { answers: index > 0 }));
    }
    const [dead, second] = sessions;
    await fleet.pass(10_000);
    expect(fleet.sessions.shareInTrouble).toBe(0.25);
    // Lost without ever having been SUSPECT, as a polling agent may be.
    if (second !== undefined) {
      second.line.onPing = undefined;
      second.line.ready = () => false;
    }
    await fleet.pass(18_000);
    dead?.session.heartbeat(0, 0, undefined, undefined);
    await fleet.pass(14_000);
    expect(second?.session.liveness).toBe(LOST);
    expect(dead?.session.liveness).toBe(SUSPECT);
    expect(fleet.sessions.shareInTrouble).toBeCloseTo(1 / 3, 9);
  });
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
    await fleet.janitor.sweep();
    await fleet.settle();
    expect(['stays', 'returns', 'left'].map(fleet.liveness)).toEqual([DISCONNECTED, DISCONNECTED, LEFT]);
    await fleet.attach('returns', tokens.returns ?? '', { answers: true });
    for (let round = 0; round < 10; round += 1) {
      await fleet.pass(5_900);
      await fleet.janitor.sweep();
    }
    expect(fleet.liveness('stays')).toBe(DISCONNECTED);
    await fleet.pass(32_000);
    await fleet.settle();
    expect(['stays', 'returns', 'left'].map(fleet.liveness)).toEqual([LOST, CONNECTED, LEFT]);
    expect(fleet.types('stays')).toEqual(['agent.connected', 'agent.disconnected', 'agent.lost']);
    expect(
      fleet
        .events('stays')
        .map(({ verdict }) => verdict?.rule)
        .slice(-2),
    ).toEqual(['orphaned', 'orphaned']);
  });

  it('stay with another replica that is alive, and are taken on when it is gone', async () => {
    const holder = await start({ replicaId: 'replica-2' });
    const token = await holder.register('a1');
    await holder.attach('a1', token);
    let alive = true;
    const fleet = await start({ data: holder.store.data, clock: holder.clock, replicaAlive: () => alive });
    await fleet.janitor.sweep();
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(CONNECTED);
    alive = false;
    await fleet.janitor.sweep();
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(DISCONNECTED);
  });

  it('are not LOST when their replica turns out to be alive', async () => {
    const holder = await start({ replicaId: 'replica-2' });
    const token = await holder.register('a1');
    await holder.attach('a1', token);
    let alive = false;
    const fleet = await start({ data: holder.store.data, clock: holder.clock, replicaAlive: () => alive });
    await fleet.janitor.sweep();
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
    await fleet.janitor.sweep();
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
      await fleet.janitor.sweep();
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
    await fleet.janitor.sweep();
    expect(fleet.record('gone')).toBeDefined();
    await fleet.attach('back', tokens.back, { answers: true });
    await fleet.pass(200);
    await fleet.janitor.sweep();
    expect([
      fleet.record('gone'),
      fleet.record('back') !== undefined,
      fleet.record('kept') !== undefined,
    ]).toEqual([undefined, true, true]);
    expect(fleet.types('gone').at(-1)).toBe('agent.forgotten');
  });
});
