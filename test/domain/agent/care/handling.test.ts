import { afterEach, describe, expect, it } from 'vitest';
import {
  Agent_Phase,
  FailurePolicy_OnLoss,
  Relationship_Type,
  Restart_State,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { DeliveryRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { earlierVerdicts } from '../../../../src/domain/agent/record.ts';
import { encodeDelivery, mailKey } from '../../../../src/domain/coordination/delivery-record.ts';
import { durationFromMs } from '../../../../src/lib/proto-time.ts';
import { type TestFleet, turns } from '../fleet-fixture.ts';
import { attachMany, cutOff, fleetsOf, live, type Member, mail, recordingHook } from './care-fixture.ts';

const { start, stopAll } = fleetsOf();
afterEach(stopAll);

const QUICK = {
  'session.lease': '6s',
  'session.ping-interval': '2s',
  'session.reconnect-grace': '2s',
  'session.flush-interval': '2s',
};
const supervised = { relationships: [{ type: Relationship_Type.SUPERVISED_BY, agentId: 'a0' }] };

async function breakOnce(fleet: TestFleet, member: Member, instanceId = 'p1'): Promise<void> {
  await fleet.attach(member.id, member.token, { answers: true, instanceId });
  cutOff(fleet, [member]);
  await fleet.settle();
}

/** A supervisor has taken its order on. */
async function accept(fleet: TestFleet, order: DeliveryRecord): Promise<void> {
  const value = encodeDelivery({ ...order, attempt: 1n, tries: 1, accepted: true });
  await fleet.store.commit({
    namespace: 'default',
    puts: [{ key: mailKey(order.agentId, order.id), value }],
  });
  await turns();
}

describe('a loss', () => {
  it("takes work away after the agent's own time, and what it was is in the event", async () => {
    const hook = recordingHook();
    const fleet = await start({ lossHooks: [hook], flags: QUICK });
    const members = await attachMany(fleet, 10, () => ({
      failurePolicy: { releaseAfter: durationFromMs(30_000) },
    }));
    await fleet.tend();
    cutOff(fleet, members.slice(0, 1));
    await live(fleet, 33);
    expect(hook.taken).toEqual([]);
    await live(fleet, 8);
    expect(hook.taken).toEqual(['a0']);
    const event = fleet.events('a0').find(({ type }) => type === 'agent.loss_handled');
    expect(event).toMatchObject({ actor: 'rule:on_loss', verdict: { rule: 'reconnect_grace' } });
    expect(event?.message).toContain('1 task queued again');
  });

  it('takes nothing where the policy keeps it, and is dealt with all the same', async () => {
    const hook = recordingHook();
    const fleet = await start({ lossHooks: [hook], flags: QUICK });
    const keep = { failurePolicy: { onLoss: FailurePolicy_OnLoss.KEEP } };
    const members = await attachMany(fleet, 10, () => keep);
    await fleet.tend();
    cutOff(fleet, members.slice(0, 1));
    await live(fleet, 10);
    expect(hook.taken).toEqual([]);
    expect(fleet.record('a0')?.lossHandledEpoch).toBe(fleet.record('a0')?.sessionEpoch);
  });

  it('is not done with as long as a hook has more, also after a crash between', async () => {
    let left = 3;
    const asked: number[] = [];
    const hook = {
      name: 'test',
      effects: async () => {
        asked.push(left);
        left -= 1;
        return { more: left > 0, summary: `${left} left` };
      },
    };
    const fleet = await start({ lossHooks: [hook], flags: QUICK });
    const members = await attachMany(fleet, 10);
    await fleet.tend();
    cutOff(fleet, members.slice(0, 1));
    await live(fleet, 10);
    expect(asked).toEqual([3, 2, 1]);
    expect(fleet.types('a0').filter((type) => type === 'agent.loss_handled')).toHaveLength(3);
  });
});

describe('the restart of a lost agent', () => {
  it('is ordered from its supervisor with growing pauses, and ends with the process that attaches', async () => {
    const fleet = await start({ flags: QUICK });
    const members = await attachMany(fleet, 10, (index) => (index === 1 ? supervised : {}));
    await fleet.tend();
    cutOff(fleet, members.slice(1, 2));
    await live(fleet, 10);
    expect(mail(fleet, 'a0')).toMatchObject([
      { type: 'restart', record: { subjectAgentId: 'a1', tries: 0 } },
    ]);
    expect(fleet.record('a1')).toMatchObject({
      restartAttempts: 1,
      agent: {
        restart: { state: Restart_State.ORDERED, attempt: 1, byAgentId: 'a0', oldInstanceId: 'process-a1' },
      },
    });
    // The order shows no effect: the next one takes its place, after a longer pause.
    await live(fleet, 64);
    expect(mail(fleet, 'a0')).toHaveLength(1);
    expect(fleet.record('a1')).toMatchObject({ restartAttempts: 2, agent: { restart: { attempt: 2 } } });
    const [, member] = members;
    if (member !== undefined)
      await fleet.attach('a1', member.token, { instanceId: 'another', answers: true });
    expect(fleet.record('a1')?.agent?.restart?.state).toBe(Restart_State.DONE);
    expect(fleet.types('a1').filter((type) => type.startsWith('agent.restart'))).toEqual([
      'agent.restart_planned',
      'agent.restart_ordered',
      'agent.restart_planned',
      'agent.restart_ordered',
      'agent.restarted',
    ]);
  });

  it('waits for a supervisor that is away, and is spared when the same process comes back', async () => {
    const fleet = await start({ flags: QUICK });
    const members = await attachMany(fleet, 10, (index) => (index === 1 ? supervised : {}));
    await fleet.tend();
    cutOff(fleet, members.slice(0, 2));
    await live(fleet, 30);
    expect(fleet.record('a1')?.agent?.restart?.state).toBe(Restart_State.PLANNED);
    expect(mail(fleet, 'a0')).toEqual([]);
    const [supervisor, agent] = members;
    if (supervisor === undefined || agent === undefined) return;
    await fleet.attach('a0', supervisor.token, { answers: true });
    await live(fleet, 2);
    expect(mail(fleet, 'a0')).toHaveLength(1);
    await fleet.attach('a1', agent.token, { instanceId: 'process-a1', answers: true });
    expect(mail(fleet, 'a0')).toEqual([]);
  });

  it('is not ordered any more, unless it is under way, once another process is back', async () => {
    for (const accepted of [false, true]) {
      const fleet = await start({ flags: QUICK });
      const members = await attachMany(fleet, 10, (index) => (index === 1 ? supervised : {}));
      await fleet.tend();
      cutOff(fleet, members.slice(1, 2));
      await live(fleet, 10);
      const [order] = mail(fleet, 'a0');
      if (order === undefined) throw new Error('no restart was ordered');
      if (accepted) await accept(fleet, order.record);
      await fleet.attach('a1', members[1]?.token ?? '', { instanceId: 'another', answers: true });
      expect(fleet.record('a1')?.agent?.restart?.state).toBe(Restart_State.DONE);
      expect(mail(fleet, 'a0')).toHaveLength(accepted ? 1 : 0);
    }
  });

  it('is proved by no process without a name: what was not handed over is taken back, the rest is answered', async () => {
    for (const accepted of [false, true]) {
      const fleet = await start({ flags: QUICK });
      const members = await attachMany(fleet, 10, (index) => (index === 1 ? supervised : {}));
      await fleet.tend();
      cutOff(fleet, members.slice(1, 2));
      await live(fleet, 10);
      const [order] = mail(fleet, 'a0');
      if (order === undefined) throw new Error('no restart was ordered');
      if (accepted) await accept(fleet, order.record);
      await fleet.attach('a1', members[1]?.token ?? '', { answers: true });
      const state = accepted ? Restart_State.ORDERED : Restart_State.FAILED;
      expect(fleet.record('a1')?.agent?.restart?.state).toBe(state);
      expect(mail(fleet, 'a0')).toHaveLength(accepted ? 1 : 0);
      expect(fleet.types('a1')).not.toContain('agent.restarted');
    }
  });

  it('is given up after so many attempts, and the agent is set aside until its cool-off is over', async () => {
    const fleet = await start({
      flags: { ...QUICK, 'failures.restart-max-attempts': '2', 'failures.quarantine-cool-off': '20s' },
    });
    const members = await attachMany(fleet, 10, (index) => (index === 1 ? supervised : {}));
    await fleet.tend();
    cutOff(fleet, members.slice(1, 2));
    await live(fleet, 140);
    expect(fleet.record('a1')?.agent).toMatchObject({
      phase: Agent_Phase.QUARANTINED,
      quarantine: {
        actor: 'rule:restart_limit',
        verdict: { rule: 'restart_limit', observer: { agents: 9 } },
      },
    });
    expect(fleet.types('a1').filter((type) => type === 'agent.restart_ordered')).toHaveLength(2);
    await live(fleet, 22);
    expect(fleet.types('a1')).toContain('agent.released');
    expect(fleet.types('a1').filter((type) => type === 'agent.restart_ordered')).toHaveLength(3);
  });

  it('begins anew for an agent that had stayed for long', async () => {
    const fleet = await start({ flags: { ...QUICK, 'failures.restart-reset-after': '30s' } });
    const members = await attachMany(fleet, 10, (index) => (index === 1 ? supervised : {}));
    const [, agent] = members;
    await fleet.tend();
    for (const stayed of [0, 0, 40]) {
      await live(fleet, stayed);
      cutOff(fleet, members.slice(1, 2));
      await live(fleet, 14);
      if (stayed === 0 && agent !== undefined) {
        await fleet.attach('a1', agent.token, {
          instanceId: `process-${fleet.clock.wallMs()}`,
          answers: true,
        });
      }
    }
    const attempts = fleet.events('a1').filter(({ type }) => type === 'agent.restart_ordered');
    expect(attempts.map(({ attributes }) => attributes.attempt)).toEqual(['1', '2', '1']);
  });
});

describe('an agent that fails again and again', () => {
  it('is set aside with the evidence, told of it, and let go when its cool-off is over', async () => {
    const fleet = await start();
    const members = await attachMany(fleet, 40);
    const [flapping] = members;
    await fleet.tend();
    if (flapping === undefined) return;
    for (let round = 0; round < 5; round += 1) {
      await breakOnce(fleet, flapping);
      await live(fleet, 3);
    }
    await fleet.attach('a0', flapping.token, { answers: true, instanceId: 'p1' });
    await live(fleet, 6);
    const record = fleet.record('a0');
    expect(record?.agent).toMatchObject({
      phase: Agent_Phase.QUARANTINED,
      quarantine: { actor: 'rule:flapping', verdict: { rule: 'flapping' } },
      verdict: { rule: 'attached' },
    });
    expect(record === undefined ? [] : earlierVerdicts(record)[0]?.rule).toBe('flapping');
    expect(record?.agent?.quarantine?.reason).toContain('5 failures within 600 s');
    expect(mail(fleet, 'a0').map(({ type }) => type)).toEqual(['quarantine']);
    await live(fleet, 605);
    expect(fleet.record('a0')).toMatchObject({ failures: [], agent: { phase: Agent_Phase.ACTIVE } });
    expect(mail(fleet, 'a0').map(({ type }) => type)).toEqual(['resume']);
    expect(fleet.types('a0').slice(-2)).toEqual(['agent.quarantined', 'agent.released']);
  }, 30_000);

  it('is left alone when all fail with it: a proxy that restarts sets no fleet aside', async () => {
    for (const size of [3, 40]) {
      const fleet = await start({ seed: size });
      const members = await attachMany(fleet, size);
      await fleet.tend();
      for (let round = 0; round < 6; round += 1) {
        cutOff(fleet, members);
        await live(fleet, 1);
        for (const { id, token } of members) await fleet.attach(id, token, { answers: true });
        await live(fleet, 20);
      }
      expect(fleet.types().filter((type) => type === 'agent.quarantined')).toEqual([]);
      expect(fleet.record('a0')?.failures.length).toBeGreaterThanOrEqual(5);
    }
  }, 30_000);

  it('is not blamed for failures of ours: a move to another replica, or a stall', async () => {
    const fleet = await start();
    const [member] = await attachMany(fleet, 1);
    if (member === undefined) return;
    fleet.stall(3_000);
    cutOff(fleet, [member]);
    await fleet.settle();
    expect(fleet.record('a0')?.failures).toEqual([]);
    await breakOnce(fleet, member);
    expect(fleet.record('a0')?.failures).toMatchObject([{ kind: 'stream_closed' }]);
    await live(fleet, 40);
    // The loss that follows from the broken stream is the same failure once more.
    expect(fleet.record('a0')?.failures).toMatchObject([{ kind: 'lost' }]);
  });

  it('is set aside together with few others in a minute', async () => {
    const fleet = await start({ flags: { 'failures.quarantines-per-minute': '2' } });
    const members = await attachMany(fleet, 100);
    await fleet.tend();
    for (let round = 0; round < 5; round += 1) {
      for (const member of members.slice(0, 4)) await breakOnce(fleet, member);
      await live(fleet, 20);
    }
    for (const { id, token } of members.slice(0, 4)) await fleet.attach(id, token, { answers: true });
    await live(fleet, 10);
    expect(fleet.types().filter((type) => type === 'agent.quarantined')).toHaveLength(2);
    await live(fleet, 65);
    expect(fleet.types().filter((type) => type === 'agent.quarantined')).toHaveLength(4);
  }, 30_000);
});

describe('those who depend on a lost agent', () => {
  it('are told once of its loss and once of its return, also after a crash in between', async () => {
    const fleet = await start({ flags: QUICK });
    const members = await attachMany(fleet, 12, (index) =>
      index > 0 && index < 4
        ? { relationships: [{ type: Relationship_Type.DEPENDS_ON, agentId: 'a0' }] }
        : {},
    );
    await fleet.tend();
    await fleet.sessions.left(
      fleet.sessions.get('default', 'a3') ?? (await fleet.attach('a3', members[3]?.token ?? '')).session,
      '',
    );
    cutOff(fleet, members.slice(0, 1));
    fleet.store.faults.answer = async (commit) => {
      if (commit.puts?.some(({ key }) => key.startsWith('mail/')) !== true) return;
      fleet.store.faults.answer = undefined;
      throw new Error('crashed here');
    };
    await live(fleet, 10);
    for (const id of ['a1', 'a2'])
      expect(mail(fleet, id).map(({ type }) => type)).toEqual(['dependency_lost']);
    // Nobody is there to be told.
    expect(mail(fleet, 'a3')).toEqual([]);
    expect(mail(fleet, 'a5')).toEqual([]);
    const [lost] = members;
    if (lost !== undefined) await fleet.attach('a0', lost.token, { answers: true });
    await live(fleet, 2);
    for (const id of ['a1', 'a2'])
      expect(
        mail(fleet, id)
          .map(({ type }) => type)
          .sort(),
      ).toEqual(['dependency_lost', 'dependency_recovered']);
    expect(fleet.types('a0').filter((type) => type === 'agent.dependents_told')).toHaveLength(2);
  });
});
