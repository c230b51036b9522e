import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  AgentChange_Type,
  DeregisterAgentRequestSchema,
  ListAgentsRequestSchema,
  RegisterAgentRequestSchema,
  UpdateAgentRequestSchema,
  WatchAgentsRequestSchema,
  type WatchAgentsResponse,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { watchAgents } from '../../../src/domain/agent/agent-watch.ts';
import { startFleet, type TestFleet, turns } from './fleet-fixture.ts';

const caller = { principal: 'operator', token: undefined };

let fleet: TestFleet;
beforeEach(async () => {
  fleet = await startFleet({ flags: { 'limits.max-agents': '5' } });
});
afterEach(() => fleet.stop());

const register = (
  request: MessageInitShape<typeof RegisterAgentRequestSchema>,
  as: { principal: string; token: string | undefined } = caller,
) => fleet.agents.register(create(RegisterAgentRequestSchema, request), as);
const update = (request: MessageInitShape<typeof UpdateAgentRequestSchema>, as = caller) =>
  fleet.agents.update(
    create(UpdateAgentRequestSchema, {
      ...request,
      updateMask: request.updateMask ?? { paths: ['display_name'] },
    } as typeof request),
    as,
  );
const deregister = (request: MessageInitShape<typeof DeregisterAgentRequestSchema>) =>
  fleet.agents.deregister(create(DeregisterAgentRequestSchema, request), caller);

describe('listing', () => {
  it('gives every agent exactly once over the pages, though others come and go meanwhile', async () => {
    for (const id of ['b', 'd', 'f', 'h']) await register({ agentId: id });
    const ids: string[] = [];
    let pageToken = '';
    do {
      const page = fleet.reader.list(create(ListAgentsRequestSchema, { pageSize: 1, pageToken }));
      ids.push(...page.agents.map(({ id }) => id));
      if (ids.length === 1) {
        await deregister({ agentId: 'b' });
        await register({ agentId: 'a' });
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(ids).toEqual(['b', 'd', 'f', 'h']);
  });

  it('refuses the page token of another filter', async () => {
    for (const id of ['a', 'b']) await register({ agentId: id });
    const { nextPageToken } = fleet.reader.list(create(ListAgentsRequestSchema, { pageSize: 1 }));
    expect(() =>
      fleet.reader.list(
        create(ListAgentsRequestSchema, { pageToken: nextPageToken, filter: { kinds: ['x'] } }),
      ),
    ).toThrow(/page_token/);
  });
});

describe('watching agents', () => {
  const watch = (request: MessageInitShape<typeof WatchAgentsRequestSchema>, signal: AbortSignal) =>
    watchAgents(create(WatchAgentsRequestSchema, request), signal, fleet);

  async function next(feed: AsyncGenerator<WatchAgentsResponse>): Promise<WatchAgentsResponse> {
    const { value, done } = await feed.next();
    if (done === true || value === undefined) throw new Error('the watch ended');
    return value;
  }
  const shown = ({ changes }: WatchAgentsResponse) =>
    changes.map(
      ({ type, agent }) => `${type === AgentChange_Type.REMOVED ? '-' : '+'}${agent?.id}@${agent?.revision}`,
    );

  it('begins with a snapshot, goes on with changes, and resumes from any cursor without gap or repetition', async () => {
    await register({ agentId: 'a1' });
    await register({ agentId: 'a2' });
    const caller = new AbortController();
    const feed = watch({}, caller.signal);
    expect(shown(await next(feed))).toEqual(['+a1@1', '+a2@2']);
    const synced = await next(feed);
    expect([synced.synced, synced.cursor === '']).toEqual([true, false]);
    await update({ agentId: 'a1', spec: { displayName: 'x' } });
    const third = await next(feed);
    await deregister({ agentId: 'a2' });
    await register({ agentId: 'a3' });
    const [fourth, fifth] = [await next(feed), await next(feed)];
    expect([third, fourth, fifth].map(shown)).toEqual([['+a1@3'], ['-a2@4'], ['+a3@5']]);
    caller.abort();
    expect((await feed.next()).done).toBe(true);
    const again = new AbortController();
    const resumed = watch({ cursor: third.cursor }, again.signal);
    expect([shown(await next(resumed)), shown(await next(resumed)), (await next(resumed)).synced]).toEqual([
      ['-a2@4'],
      ['+a3@5'],
      true,
    ]);
    again.abort();
  });

  it('tells of an agent that no longer matches as removed', async () => {
    await register({ agentId: 'a1', spec: { kind: 'worker', labels: { tier: 'web' } } });
    const caller = new AbortController();
    const feed = watch({ filter: { labelSelector: 'tier=web' } }, caller.signal);
    expect(shown(await next(feed))).toEqual(['+a1@1']);
    await next(feed);
    await update({ agentId: 'a1', spec: { labels: { tier: 'db' } }, updateMask: { paths: ['labels'] } });
    expect(shown(await next(feed))).toEqual(['-a1@2']);
    caller.abort();
  });
});

describe('what was measured', () => {
  it('is flushed for other replicas, ages there, and is gone with the agent', async () => {
    const token = (await register({ agentId: 'a1' })).agentToken;
    const { session } = await fleet.attach('a1', token, { answers: true });
    await fleet.pass(12_000);
    await fleet.observations.flushAll();
    expect(await fleet.store.scanLive('default')).toMatchObject([{ key: 'agent/a1', epoch: session.epoch }]);
    const reader = await startFleet({ data: fleet.store.data, clock: fleet.clock, replicaId: 'replica-2' });
    await reader.observations.load('default');
    await fleet.pass(2_000);
    const seen = reader.reader.get('default', 'a1').observation;
    expect(seen).toMatchObject({
      replicaId: 'replica-1',
      sessionEpoch: session.epoch,
      health: { connected: 1 },
    });
    expect(Number(seen?.age?.seconds)).toBeGreaterThanOrEqual(2);
    await reader.stop();
    fleet.sessions.lost(session, 'broke');
    await fleet.settle();
    expect(fleet.reader.get('default', 'a1')).toMatchObject({
      liveness: Agent_Liveness.DISCONNECTED,
      observation: { health: { score: 0, connected: 0, reasons: ['no open session'] } },
    });
    await deregister({ agentId: 'a1' });
    await turns();
    await fleet.observations.flushAll();
    expect(await fleet.store.scanLive('default')).toEqual([]);
  });

  it('is not replaced by an older reading that arrives late', async () => {
    const token = (await register({ agentId: 'a1' })).agentToken;
    const { session } = await fleet.attach('a1', token, { answers: true });
    await fleet.pass(6_000);
    fleet.store.faults.lagging = true;
    await fleet.observations.flushAll();
    await fleet.pass(12_000);
    fleet.sessions.lost(session, 'broke');
    const before = fleet.reader.get('default', 'a1').observation?.heartbeats;
    fleet.store.catchUp();
    expect(fleet.reader.get('default', 'a1').observation?.heartbeats).toBe(before);
  });
});
