import { create, toBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { GoAway_Reason } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  AgentRecordSchema,
  ObservationRecordSchema,
} from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { agentKey, decodeRecord, encodeRecord } from '../../../src/domain/agent/record.ts';
import { startFleet, type TestFleet } from './fleet-fixture.ts';

let fleet: TestFleet;
beforeEach(async () => {
  fleet = await startFleet();
});
afterEach(() => fleet.stop());

/** The store comes back without anything it had, under a higher epoch. */
function loseStore(): void {
  for (const state of fleet.store.data.namespaces.values()) state.entries.clear();
  fleet.store.promote();
}

describe('a store that comes back empty', () => {
  it('is told again of every agent whose session is held, and the session goes on', async () => {
    const { session, line } = await fleet.attach('a1', await fleet.register('a1', { kind: 'worker' }), {
      answers: true,
    });
    await fleet.register('a2');
    loseStore();
    await fleet.pass(1000);
    expect(session.ended).toBe(false);
    expect(line.goAways).toEqual([]);
    expect(fleet.record('a1')).toMatchObject({
      sessionEpoch: session.epoch,
      agent: { spec: { kind: 'worker' } },
    });
    expect(fleet.reader.get('default', 'a1').liveness).toBe(Agent_Liveness.CONNECTED);
    expect(fleet.types('a1')).toContain('agent.restored');
    // Nobody holds a session of the other one: it is lost with the store.
    expect(fleet.record('a2')).toBeUndefined();
  });

  it('hears later verdicts on such a session as before', async () => {
    const { session } = await fleet.attach('a1', await fleet.register('a1'));
    loseStore();
    await fleet.pass(100);
    fleet.sessions.lost(session, 'the stream broke');
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(Agent_Liveness.DISCONNECTED);
  });
});

describe('a store that falls back to before an attachment', () => {
  it('is told of the attachment again', async () => {
    const token = await fleet.register('a1');
    const entries = fleet.store.data.namespaces.get('default')?.entries;
    const old = entries?.get(agentKey('a1'));
    const { session, line } = await fleet.attach('a1', token, { answers: true });
    if (old !== undefined) entries?.set(agentKey('a1'), old);
    fleet.store.promote();
    await fleet.pass(100);
    expect(line.goAways).toEqual([]);
    expect(fleet.record('a1')?.sessionEpoch).toBe(session.epoch);
  });

  it.each(['before it is told of the attachment again', 'before it has answered that it is told'])(
    'ends a session when another replica has the next one of its agent, %s',
    async (when) => {
      const token = await fleet.register('a1');
      const entries = fleet.store.data.namespaces.get('default')?.entries;
      const old = entries?.get(agentKey('a1'));
      const { session, line } = await fleet.attach('a1', token, { answers: true });
      const entry = entries?.get(agentKey('a1'));
      if (entry === undefined || old === undefined) throw new Error('no agent');
      const next = create(AgentRecordSchema, {
        ...decodeRecord(entry.value),
        sessionEpoch: session.epoch + 1n,
        peer: 'elsewhere',
      });
      const put = { key: agentKey('a1'), value: encodeRecord(next) };
      if (when.includes('answered')) {
        entries?.set(agentKey('a1'), old);
        fleet.store.faults.answer = async () => {
          fleet.store.faults.answer = undefined;
          await fleet.store.commit({ namespace: 'default', puts: [put] });
        };
      } else {
        entries?.set(agentKey('a1'), { ...entry, value: put.value });
      }
      fleet.store.promote();
      await fleet.pass(100);
      expect(session.ended).toBe(true);
      expect(line.goAways).toMatchObject([{ reason: GoAway_Reason.SUPERSEDED }]);
      expect(fleet.record('a1')?.sessionEpoch).toBe(session.epoch + 1n);
    },
  );

  it('shows no reading of a session that it lost, in the place of the present one', async () => {
    const token = await fleet.register('a1');
    await fleet.attach('a1', token);
    const entries = fleet.store.data.namespaces.get('default')?.entries;
    const old = entries?.get(agentKey('a1'));
    const { session } = await fleet.attach('a1', token);
    fleet.sessions.lost(session, 'the stream broke');
    await fleet.settle();
    const shown = () => fleet.reader.get('default', 'a1').observation?.sessionEpoch;
    expect(shown()).toBe(session.epoch);
    if (old !== undefined) entries?.set(agentKey('a1'), old);
    fleet.store.promote();
    await fleet.pass(100);
    expect(shown()).not.toBe(session.epoch);
  });

  it('shows the reading of the present session, and not of a lost one that ends later', async () => {
    const token = await fleet.register('a1');
    const { session: present } = await fleet.attach('a1', token);
    const entries = fleet.store.data.namespaces.get('default')?.entries;
    const old = entries?.get(agentKey('a1'));
    const { session: lost } = await fleet.attach('a1', token);
    if (old !== undefined) entries?.set(agentKey('a1'), old);
    fleet.store.faults.before = async () => {
      throw new Error('no');
    };
    fleet.store.promote();
    await fleet.pass(100);
    expect(lost.ended).toBe(true);
    const shown = () => fleet.reader.get('default', 'a1').observation?.sessionEpoch;
    expect(shown()).toBeUndefined();
    // Another replica has that, and goes on.
    const value = toBinary(
      ObservationRecordSchema,
      create(ObservationRecordSchema, { sessionEpoch: present.epoch }),
    );
    const record = { namespace: 'default', key: agentKey('a1'), epoch: present.epoch, sequence: 9, value };
    fleet.observations.live([record]);
    expect(shown()).toBe(present.epoch);
  });

  it('gets no reading of a session before it has been told of that', async () => {
    const token = await fleet.register('a1');
    const entries = fleet.store.data.namespaces.get('default')?.entries;
    const old = entries?.get(agentKey('a1'));
    const { session } = await fleet.attach('a1', token);
    if (old !== undefined) entries?.set(agentKey('a1'), old);
    const written = () => fleet.store.data.live.get('default')?.get(agentKey('a1'))?.epoch;
    // This replica has not heard of it yet.
    fleet.store.faults.lagging = true;
    fleet.store.promote();
    await fleet.observations.flushAll();
    expect(written()).toBeUndefined();
    let tell = (): void => {};
    const told = new Promise<void>((resolve) => {
      tell = resolve;
    });
    fleet.store.faults.before = () => told;
    fleet.store.faults.lagging = false;
    fleet.store.catchUp();
    await fleet.observations.flushAll();
    expect(written()).toBeUndefined();
    tell();
    await fleet.pass(100);
    await fleet.observations.flushAll();
    expect(written()).toBe(session.epoch);
  });

  it('sends the agent to attach anew when it cannot be told', async () => {
    const { line } = await fleet.attach('a1', await fleet.register('a1'), { answers: true });
    fleet.store.faults.before = async () => {
      throw new Error('no');
    };
    loseStore();
    await fleet.pass(100);
    expect(line.goAways).toMatchObject([{ reason: GoAway_Reason.REBALANCE, reconnectAfterMs: 0 }]);
  });
});

describe('an agent that was deregistered while this replica had lost the thread', () => {
  it('is not stored again: the store is the same one', async () => {
    const { line } = await fleet.attach('a1', await fleet.register('a1'), { answers: true });
    fleet.store.data.namespaces.get('default')?.entries.delete(agentKey('a1'));
    fleet.store.data.epoch -= 1n;
    fleet.store.promote();
    await fleet.pass(100);
    expect(line.goAways).toMatchObject([{ reason: GoAway_Reason.REVOKED }]);
    expect(fleet.record('a1')).toBeUndefined();
  });
});
