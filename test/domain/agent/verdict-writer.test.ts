import { create } from '@bufbuild/protobuf';
import { afterEach, describe, expect, it } from 'vitest';
import {
  Agent_Liveness,
  type Verdict,
  VerdictSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { UpdateAgentRequestSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { Event_Severity } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { earlierVerdicts } from '../../../src/domain/agent/record.ts';
import type { Session } from '../../../src/domain/agent/session.ts';
import { startFleet, type TestFleet, turns } from './fleet-fixture.ts';

// Only what leaves a session open: of an open one that was judged otherwise, its replica says that it is there.
const { CONNECTED, SUSPECT, LOST } = Agent_Liveness;

let fleet: TestFleet;
afterEach(() => fleet.stop());

async function attached(...ids: string[]): Promise<Session[]> {
  fleet = await startFleet();
  const sessions: Session[] = [];
  for (const id of ids) sessions.push((await fleet.attach(id, await fleet.register(id))).session);
  return sessions;
}

let made = 0;
/** Judges a session, as its owner does. */
function judge(
  session: Session,
  liveness: Agent_Liveness | undefined,
  type: string,
): { verdict: Verdict; done: Promise<boolean> } {
  made += 1;
  const verdict = create(VerdictSchema, {
    rule: `rule-${made}`,
    epoch: session.epoch,
    replicaId: 'replica-1',
    time: { seconds: BigInt(made), nanos: 0 },
  });
  const done = fleet.verdicts.submit({
    namespace: 'default',
    agentId: session.agentId,
    epoch: session.epoch,
    ...(liveness === undefined ? {} : { liveness }),
    verdict,
    event: {
      type,
      severity: Event_Severity.INFO,
      message: type,
      actor: 'rule:test',
      agentId: session.agentId,
      verdict,
    },
  });
  return { verdict, done };
}

/** Until the writer has tried and failed at least once more. */
async function failedTries(count: number): Promise<void> {
  const before = fleet.warnings.length;
  while (fleet.warnings.length < before + count) await new Promise((resolve) => setTimeout(resolve, 1));
}

describe('verdicts', () => {
  it('of one turn of the event loop share a commit', async () => {
    const sessions = await attached('a1', 'a2', 'a3');
    const before = fleet.store.commits.length;
    await Promise.all(sessions.map((session) => judge(session, SUSPECT, 'agent.suspect').done));
    expect(fleet.store.commits.length - before).toBe(1);
    expect(['a1', 'a2', 'a3'].map(fleet.liveness)).toEqual([SUSPECT, SUSPECT, SUSPECT]);
  });

  it('wait while the store is away, are shown by reads, and are written once and in order when it is back', async () => {
    const [session] = await attached('a1');
    if (session === undefined) return;
    fleet.store.faults.away = true;
    const first = judge(session, SUSPECT, 'agent.suspect');
    await failedTries(2);
    const second = judge(session, CONNECTED, 'agent.answering');
    const third = judge(session, SUSPECT, 'agent.suspect');
    await failedTries(2);
    expect(fleet.verdicts.size).toBeGreaterThan(0);
    expect(fleet.liveness('a1')).toBe(CONNECTED);
    expect(fleet.reader.get('default', 'a1')).toMatchObject({
      liveness: SUSPECT,
      verdict: { rule: third.verdict.rule },
    });
    const listed = fleet.reader.list({
      namespace: '',
      pageSize: 0,
      pageToken: '',
      filter: { liveness: [SUSPECT], capabilities: [], phases: [], kinds: [], labelSelector: '' },
    } as never);
    expect(listed.agents.map(({ id }) => id)).toEqual(['a1']);
    fleet.store.faults.away = false;
    expect(await Promise.all([first.done, second.done, third.done])).toEqual([true, true, true]);
    expect(fleet.types('a1')).toEqual([
      'agent.connected',
      'agent.suspect',
      'agent.answering',
      'agent.suspect',
    ]);
    expect(fleet.liveness('a1')).toBe(SUSPECT);
    await fleet.settle();
    expect(fleet.verdicts.size).toBe(0);
    expect(fleet.reader.get('default', 'a1').verdict?.rule).toBe(third.verdict.rule);
  });

  it.each([1, 3])('are stored once although %d answers were lost', async (lost) => {
    const [session] = await attached('a1');
    if (session === undefined) return;
    fleet.store.faults.loseAnswers = lost;
    const stuck = judge(session, undefined, 'agent.stuck');
    await turns(3);
    const later = [judge(session, SUSPECT, 'agent.suspect'), judge(session, CONNECTED, 'agent.answering')];
    expect(await Promise.all([stuck, ...later].map(({ done }) => done))).toEqual([true, true, true]);
    expect(fleet.types('a1')).toEqual(['agent.connected', 'agent.stuck', 'agent.suspect', 'agent.answering']);
    expect(fleet.liveness('a1')).toBe(CONNECTED);
  });

  it('are stored once when the answer is lost while the next verdict is judged', async () => {
    const [session] = await attached('a1');
    if (session === undefined) return;
    fleet.store.faults.loseAnswers = 1;
    let later: Promise<boolean> | undefined;
    fleet.store.faults.answer = async () => {
      later ??= judge(session, CONNECTED, 'agent.answering').done;
    };
    await judge(session, SUSPECT, 'agent.suspect').done;
    await later;
    expect(fleet.types('a1')).toEqual(['agent.connected', 'agent.suspect', 'agent.answering']);
    const record = fleet.record('a1');
    expect(
      record === undefined
        ? []
        : earlierVerdicts(record)
            .map(({ rule }) => rule)
            .slice(1),
    ).toEqual(['attached', 'registered']);
  });

  it('of a superseded session are dropped, also when they waited for the store', async () => {
    const [session] = await attached('a1');
    if (session === undefined) return;
    fleet.store.faults.before = async (commit) => {
      if (commit.request === undefined) return;
      fleet.store.faults.before = undefined;
      await fleet.attach('a1', token);
    };
    const { agentToken: token } = await fleet.agents.register(
      { namespace: '', agentId: 'a1', requestId: '', takeover: true, spec: undefined } as never,
      { principal: 'x', token: undefined },
    );
    await judge(session, LOST, 'agent.lost').done;
    expect(fleet.liveness('a1')).toBe(CONNECTED);
    expect(fleet.types('a1')).not.toContain('agent.lost');
  });

  it('of an older session never displace one of a newer session that waits', async () => {
    const [session] = await attached('a1');
    if (session === undefined) return;
    const older = { ...session, agentId: 'a1', epoch: session.epoch - 1n } as Session;
    const newer = judge(session, SUSPECT, 'agent.suspect');
    const late = judge(older, LOST, 'agent.lost');
    expect(await Promise.all([newer.done, late.done])).toEqual([true, true]);
    expect(fleet.liveness('a1')).toBe(SUSPECT);
    expect(fleet.types('a1')).toEqual(['agent.connected', 'agent.suspect']);
  });

  it('keep what others changed in the record meanwhile', async () => {
    const [session] = await attached('a1');
    if (session === undefined) return;
    let changes = 0;
    fleet.store.faults.before = async (commit) => {
      if (commit.request === undefined || changes >= 5) return;
      changes += 1;
      await fleet.agents.update(
        create(UpdateAgentRequestSchema, {
          agentId: 'a1',
          spec: { displayName: `name ${changes}` },
          updateMask: { paths: ['display_name'] },
        }),
        { principal: 'operator', token: undefined },
      );
    };
    await judge(session, SUSPECT, 'agent.suspect').done;
    expect(fleet.record('a1')?.agent).toMatchObject({ liveness: SUSPECT, spec: { displayName: 'name 5' } });
  });

  it('of many agents are all stored although every one was changed meanwhile', async () => {
    const ids = Array.from({ length: 300 }, (_, index) => `a${index}`);
    const sessions = await attached(...ids);
    fleet.store.faults.lagging = true;
    for (const agentId of ids) {
      const request = create(UpdateAgentRequestSchema, {
        agentId,
        spec: { version: '2' },
        updateMask: { paths: ['version'] },
      });
      await fleet.agents.update(request, { principal: 'operator', token: undefined });
    }
    const done = sessions.map((session) => judge(session, SUSPECT, 'agent.suspect').done);
    await turns(50);
    fleet.store.faults.lagging = false;
    fleet.store.catchUp();
    await Promise.all(done);
    expect(ids.filter((id) => fleet.liveness(id) !== SUSPECT)).toEqual([]);
    expect(fleet.warnings).toEqual([]);
  });

  it('that the store cannot take are dropped, and do not hold up those of other agents', async () => {
    const [a, b, c] = await attached('a', 'b', 'c');
    if (a === undefined || b === undefined || c === undefined) throw new Error('three sessions');
    fleet.store.faults.before = async (commit) => {
      if (commit.puts?.some(({ key }) => key === 'agent/b')) throw new Error('cannot be written');
    };
    const judged = [a, b, c].map((session) => judge(session, SUSPECT, 'agent.suspect'));
    expect(await Promise.all(judged.map(({ done }) => done))).toEqual([true, false, true]);
    expect(['a', 'b', 'c'].map((id) => fleet.liveness(id))).toEqual([SUSPECT, CONNECTED, SUSPECT]);
    expect(fleet.warnings.join()).toContain('a verdict cannot be stored; it is dropped');
  });

  it('leave nobody waiting when this replica closes while the store is away', async () => {
    const [first, second] = await attached('a1', 'a2');
    if (first === undefined || second === undefined) return;
    fleet.store.faults.away = true;
    const written = judge(first, LOST, 'agent.lost').done;
    await failedTries(1);
    const waiting = judge(second, LOST, 'agent.lost').done;
    fleet.verdicts.close();
    expect(await Promise.all([written, waiting])).toEqual([false, false]);
    expect(await judge(second, LOST, 'agent.lost').done).toBe(false);
  });

  it('of an agent that was deregistered meanwhile are dropped', async () => {
    const [session] = await attached('a1');
    if (session === undefined) return;
    await fleet.agents.deregister({ namespace: '', agentId: 'a1', requestId: '', reason: '' } as never, {
      principal: 'operator',
      token: undefined,
    });
    await judge(session, LOST, 'agent.lost').done;
    expect(fleet.record('a1')).toBeUndefined();
    expect(fleet.types('a1').at(-1)).toBe('agent.deregistered');
  });
});
