import { create } from '@bufbuild/protobuf';
import { afterEach, describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  DeregisterAgentRequestSchema,
  RegisterAgentRequestSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { GoAway_Reason } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { msFromTimestamp } from '../../../src/lib/proto-time.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryStore } from '../../support/memory-store.ts';
import { rejection, startFleet, type TestFleet, type TestFleetOptions, turns } from './fleet-fixture.ts';

const { CONNECTED } = Agent_Liveness;
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

  it("is dated by the store's clock where this replica's is another one", async () => {
    const clock = new FakeClock();
    const store = new MemoryStore({ wallMs: () => clock.wallMs() + 3_600_000 });
    const fleet = await start({ clock, store });
    await fleet.storeTime.exact();
    await fleet.attach('a1', await fleet.register('a1'));
    const time = fleet.record('a1')?.attachTime;
    expect(time && msFromTimestamp(time)).toBe(clock.wallMs() + 3_600_000);
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
});
