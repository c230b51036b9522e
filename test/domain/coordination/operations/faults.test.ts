import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { Agent_Liveness, AgentSchema } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  DeregisterAgentRequestSchema,
  QuarantineAgentRequestSchema,
  ResumeAgentRequestSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  AgentOutcome_State,
  Operation_State,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import {
  AgentRecordSchema,
  OperationAgentRecordSchema,
  OperationRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { AgentDirectory } from '../../../../src/domain/agent/directory.ts';
import { agentKey, agentOf, encodeRecord } from '../../../../src/domain/agent/record.ts';
import { meanHealth } from '../../../../src/domain/coordination/operations/operation-health.ts';
import { durationFromMs } from '../../../../src/lib/proto-time.ts';
import { fleet, useFleet } from '../../agent/conversation-fixture.ts';
import { startFleet, turns } from '../../agent/fleet-fixture.ts';
import { mail } from '../delivery-fixture.ts';
import {
  Crew,
  cancel,
  declines,
  get,
  hangs,
  OPERATOR,
  pause,
  resume,
  silent,
  standing,
  start,
  succeeds,
} from './operation-fixture.ts';

useFleet();

const count = (value: number) => ({ amount: { case: 'count' as const, value } });
const many = count(99);
const keys = (prefix: string) =>
  [...(fleet.store.data.namespaces.get('default')?.entries.keys() ?? [])].filter((key) =>
    key.startsWith(prefix),
  );
/** What is said of one agent, in the end. */
const said = async (id: string, agentId: string) => {
  const { agents } = await get(id);
  return agents.find((agent) => agent.agentId === agentId)?.error;
};

describe('an agent of an operation', () => {
  it('that is deregistered meanwhile has failed', async () => {
    const crew = await Crew.of(2);
    crew.set(['c00'], hangs);
    const { operation } = await start({ command: 'check', maxErrors: many });
    await crew.work();
    await fleet.agents.deregister(create(DeregisterAgentRequestSchema, { agentId: 'c00' }), OPERATOR);
    await crew.work();
    expect(await said(operation.id, 'c00')).toBe('it was deregistered');
    expect((await get(operation.id)).operation.state).toBe(Operation_State.COMPLETED_WITH_ERRORS);
  });

  it('that is lost meanwhile has failed, and does not find the command when it comes back', async () => {
    const crew = await Crew.of(2);
    crew.set(['c00'], silent);
    const { operation } = await start({ command: 'check', maxErrors: many });
    await crew.work();
    crew.agent('c00').breakOff();
    await fleet.pass(120_000);
    await crew.work();
    expect(await said(operation.id, 'c00')).toBe('it is lost');
    expect(keys('mail/c00/')).toEqual([]);
  });

  it('that says goodbye meanwhile has failed; one that was to be drained is done', async () => {
    const crew = await Crew.of(2, hangs);
    const { operation: check } = await start({ command: 'check', agentIds: ['c00'], maxErrors: many });
    const { operation: drain } = await start({ command: 'drain', agentIds: ['c01'] });
    await crew.work();
    for (const id of ['c00', 'c01'])
      crew.agent(id).send({ frame: { case: 'leave', value: { reason: 'bye' } } });
    await turns();
    await crew.work();
    expect(await said(check.id, 'c00')).toBe('it has left');
    expect(standing((await get(drain.id)).agents)).toEqual(['c01 done']);
  });

  it('that gets another order has failed', async () => {
    const crew = await Crew.of(1, hangs);
    const { operation } = await start({ command: 'drain', maxErrors: many });
    await crew.work();
    await fleet.orders.resume(create(ResumeAgentRequestSchema, { agentId: 'c00' }), OPERATOR);
    await crew.work();
    expect(await said(operation.id, 'c00')).toBe('another order took its place: it is active');
  });

  it('whose mailbox is full has failed, and nobody waits for it', async () => {
    const crew = await Crew.of(1, silent);
    for (let index = 0; index < 1000; index += 1) await mail(fleet, 'c00', `m${index}`);
    const { operation } = await start({ command: 'check', maxErrors: many });
    await crew.work();
    expect(await said(operation.id, 'c00')).toContain('maximum of 1000 unfinished deliveries');
  });

  it('that takes too long has failed, and its command is taken back', async () => {
    const crew = await Crew.of(1, hangs);
    const { operation } = await start({
      command: 'check',
      maxErrors: many,
      agentTimeout: durationFromMs(20_000),
    });
    await crew.work();
    await fleet.pass(21_000);
    await crew.work();
    expect(await said(operation.id, 'c00')).toContain('it took too long');
    expect(keys('mail/c00/')).toEqual([]);
    const revoked = crew
      .agent('c00')
      .frames()
      .filter((frame) => frame.case === 'revoke');
    expect(revoked).toHaveLength(1);
  });

  it('that is not there is not waited for', async () => {
    const crew = await Crew.of(1);
    await fleet.register('c99', { labels: { crew: 'yes' } });
    const { operation } = await start({ command: 'check', maxErrors: many });
    await crew.work();
    expect(await said(operation.id, 'c99')).toBe('no process of it was ever there');
  });

  it('is done with a restart when another process is there, and not before', async () => {
    const crew = await Crew.of(1);
    const { operation } = await start({ command: 'restart' });
    await crew.work();
    expect(standing((await get(operation.id)).agents)).toEqual(['c00 accepted']);
    await crew.replace('c00', 'p-new');
    await crew.work();
    expect((await get(operation.id)).agents).toMatchObject([
      { state: AgentOutcome_State.DONE, verified: true },
    ]);
  });
});

describe('an operation', () => {
  it('hands out nothing while it is paused, and goes on when it is resumed', async () => {
    const crew = await Crew.of(4);
    crew.set(['c00'], hangs);
    const { operation } = await start({ command: 'check', wave: count(1) });
    await crew.work();
    const paused = await pause(operation.id, { reason: 'wait', requestId: 'p' });
    expect(paused).toMatchObject({ state: Operation_State.PAUSED, detail: 'paused by operator: wait' });
    const [delivery] = crew.deliveries('c00');
    if (delivery === undefined) throw new Error('no delivery');
    const answer = succeeds(delivery);
    await crew.agent('c00').say(delivery, answer?.state ?? 0);
    await crew.work();
    expect(standing((await get(operation.id)).agents)).toEqual([
      'c00 done',
      'c01 waiting',
      'c02 waiting',
      'c03 waiting',
    ]);
    // The same request again changes nothing, and says the same.
    expect((await pause(operation.id, { reason: 'wait', requestId: 'p' })).revision).toBe(paused.revision);
    await expect(pause(operation.id)).rejects.toThrow('is paused and cannot be paused');
    await expect(resume(operation.id, { expectedRevision: 1n })).rejects.toThrow('another one than expected');
    await resume(operation.id, { expectedRevision: paused.revision });
    await crew.work();
    expect((await get(operation.id)).operation.state).toBe(Operation_State.SUCCEEDED);
    await expect(cancel(operation.id)).rejects.toThrow('is over (succeeded)');
  });

  it('takes back what nobody has taken on when it is cancelled, and follows the rest to its end', async () => {
    const crew = await Crew.of(3);
    crew.set(['c00'], hangs);
    crew.set(['c01'], silent);
    const { operation } = await start({ command: 'check', wave: count(2) });
    await crew.work();
    await cancel(operation.id, { reason: 'no more' });
    await crew.work();
    const half = await get(operation.id);
    expect(standing(half.agents)).toEqual(['c00 accepted', 'c01 cancelled', 'c02 cancelled']);
    expect(half.operation.state).toBe(Operation_State.CANCELLED);
    expect(half.operation.endTime).toBeUndefined();
    expect(keys('mail/c01/')).toEqual([]);
    const [delivery] = crew.deliveries('c00');
    if (delivery === undefined) throw new Error('no delivery');
    await crew.agent('c00').say(delivery, succeeds(delivery)?.state ?? 0);
    await crew.work();
    const ended = await get(operation.id);
    expect(ended.operation.endTime).toBeDefined();
    expect(standing(ended.agents)).toEqual(['c00 done', 'c01 cancelled', 'c02 cancelled']);
  });

  it('is one however often it is started with the same request id', async () => {
    await Crew.of(1);
    const first = await start({ command: 'check' }, { requestId: 'r' });
    expect((await start({ command: 'check' }, { requestId: 'r' })).operation).toEqual(first.operation);
    await expect(start({ command: 'other' }, { requestId: 'r' })).rejects.toThrow('before with another');
  });

  it('says in a dry run who would be touched, in which wave and what is in the way, and touches nobody', async () => {
    const crew = await Crew.of(2);
    await fleet.register('c99', { labels: { crew: 'yes' } });
    const before = fleet.store.commits.length;
    const { operation, agents } = await start({ command: 'check', wave: count(2) }, { dryRun: true });
    expect(operation.id).toBe('');
    expect(agents.map(({ agentId, wave, error }) => [agentId, wave, error])).toEqual([
      ['c00', 1, ''],
      ['c01', 1, ''],
      ['c99', 2, 'no process of it was ever there'],
    ]);
    await crew.work();
    expect(crew.commands('c00')).toEqual([]);
    expect(
      fleet.store.commits
        .slice(before)
        .every(({ puts = [] }) => puts.every(({ key }) => !key.startsWith('op'))),
    ).toBe(true);
  });

  it('is refused beyond the number of those that have not ended', async () => {
    await Crew.of(1, silent);
    for (let index = 0; index < 16; index += 1) await start({ command: 'check' });
    await expect(start({ command: 'check' })).rejects.toThrow('16 operations that have not ended');
  });

  it('goes on while automatic action is frozen', async () => {
    const crew = await Crew.of(2);
    await fleet.store.commit({ namespace: 'default', puts: [{ key: 'freeze', value: new Uint8Array() }] });
    const { operation } = await start({ command: 'check', wave: count(1) });
    await crew.work();
    expect((await get(operation.id)).operation.state).toBe(Operation_State.SUCCEEDED);
  });

  it('goes on at another replica, and nobody gets the command twice', async () => {
    const crew = await Crew.of(6);
    crew.set(['c02'], silent);
    const { operation } = await start({ command: 'check', wave: count(2) });
    await crew.work();
    // The first replica keeps its sessions and does not look after the namespace any more.
    const other = await startFleet({ replicaId: 'replica-2', store: fleet.store, clock: fleet.clock });
    try {
      for (let second = 0; second < 15; second += 1) {
        await other.pass(1000);
        await other.tend();
      }
      expect(other.care.fence('default')).toBeDefined();
      crew.set(['c02'], succeeds);
      const [delivery] = crew.deliveries('c02');
      if (delivery === undefined) throw new Error('no delivery');
      const latest = crew.deliveries('c02').at(-1) ?? delivery;
      await crew.agent('c02').say(latest, succeeds(latest)?.state ?? 0);
      for (const id of ['c04', 'c05']) {
        await other.tend();
        await turns(10);
        for (const each of crew.deliveries(id)) await crew.agent(id).say(each, succeeds(each)?.state ?? 0);
      }
      await other.tend();
      await turns(10);
      await other.tend();
      const { operation: ended, agents } = await get(operation.id);
      expect(ended.state).toBe(Operation_State.SUCCEEDED);
      for (const { agentId, tries } of agents) {
        expect(tries).toBe(1);
        const ids = new Set(crew.deliveries(agentId).map(({ work }) => work?.deliveryId));
        expect(ids.size).toBe(1);
      }
    } finally {
      await other.stop();
    }
  });

  it('goes on when the store is away or its answers are lost, and nobody gets the command twice', async () => {
    const crew = await Crew.of(8);
    crew.set(['c03'], declines);
    const { operation } = await start({ command: 'check', wave: count(2), maxErrors: many });
    for (let round = 0; round < 40; round += 1) {
      // In turn: the first commits of the round are stored and nobody is told, or nothing can be stored at all.
      fleet.store.faults.loseAnswers = round % 3;
      fleet.store.faults.away = round % 5 === 4;
      await fleet.care.tick().catch(() => {});
      await turns(4);
      fleet.store.faults.loseAnswers = 0;
      fleet.store.faults.away = false;
      await crew.work(2);
      if ((await get(operation.id)).operation.endTime !== undefined) break;
      await fleet.pass(2000);
    }
    const { operation: ended, agents } = await get(operation.id);
    expect(ended.state).toBe(Operation_State.COMPLETED_WITH_ERRORS);
    expect(standing(agents).filter((line) => !line.endsWith(' done'))).toEqual(['c03 failed']);
    for (const { agentId, tries } of agents) {
      expect(tries).toBe(1);
      expect(new Set(crew.deliveries(agentId).map(({ work }) => work?.deliveryId)).size).toBe(1);
    }
    expect(fleet.types().filter((type) => type === 'operation.wave_done')).toHaveLength(4);
    expect(fleet.types().filter((type) => type === 'operation.ended')).toHaveLength(1);
  });

  it('sets aside until further notice also an agent that is in its cool-off', async () => {
    const crew = await Crew.of(1);
    const cooling = { agentId: 'c00', duration: durationFromMs(60_000) };
    await fleet.orders.quarantine(create(QuarantineAgentRequestSchema, cooling), OPERATOR);
    const { operation } = await start({ command: 'pause' });
    await crew.work();
    expect((await get(operation.id)).operation.state).toBe(Operation_State.SUCCEEDED);
    const record = fleet.record('c00');
    expect(record && agentOf(record).quarantine).toMatchObject({ actor: 'operator', reason: '' });
    expect(record && agentOf(record).quarantine?.endTime).toBeUndefined();
  });

  it('carries the trace of whoever started it to the agents', async () => {
    const crew = await Crew.of(1);
    const trace = {
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      tracestate: 'a=b',
    };
    const { operation } = await start({ command: 'check' }, {}, trace);
    await crew.work();
    const [delivery] = crew.deliveries('c00');
    expect(delivery).toMatchObject(trace);
    expect(delivery?.item.value).toMatchObject({ operationId: operation.id, type: 'check' });
  });

  it('is removed with all that belongs to it when the time of events is over', async () => {
    const crew = await Crew.of(2);
    crew.set(['c01'], declines);
    const { operation } = await start({ command: 'check', maxErrors: many });
    await crew.work();
    expect(keys('op').length).toBeGreaterThan(3);
    fleet.clock.advance(8 * 24 * 3600 * 1000);
    await fleet.tend();
    expect(keys('op')).toEqual([]);
    await expect(get(operation.id)).rejects.toThrow('there is no operation');
  });
});

describe('the mean health of those done', () => {
  const { CONNECTED, LOST, LEFT } = Agent_Liveness;

  it('counts the lost as 0, leaves out who left and who was not measured, and names the worst', () => {
    const directory = new AgentDirectory();
    const liveness = { a: CONNECTED, b: CONNECTED, c: LOST, d: LEFT, e: CONNECTED, f: CONNECTED };
    const entries = Object.entries(liveness).map(([id, value]) => {
      const agent = create(AgentSchema, { id, liveness: value });
      return { key: agentKey(id), value: encodeRecord(create(AgentRecordSchema, { agent })), revision: 1n };
    });
    directory.reset('default', { epoch: 1n, revision: 1n }, entries);
    const outcomes = new Map(
      Object.keys(liveness).map((agentId, place) => {
        const state = agentId === 'f' ? AgentOutcome_State.FAILED : AgentOutcome_State.DONE;
        return [
          place,
          { record: create(OperationAgentRecordSchema, { outcome: { agentId, state } }), revision: 1n },
        ];
      }),
    );
    const record = create(OperationRecordSchema, { operation: { spec: { minHealth: 0.8 } } });
    const scores: Record<string, number> = { a: 1, b: 0.5, f: 0 };
    const mean = meanHealth({ namespace: 'default', record, outcomes }, directory, ({ id }) => scores[id]);
    expect(mean).toEqual({
      score: 0.5,
      words: 'the mean health of 3 agents done is 0.50, below 0.8: c 0.00, b 0.50, a 1.00',
    });
  });
});
