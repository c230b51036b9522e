import { create, fromBinary, type Message, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { GenMessage } from '@bufbuild/protobuf/codegenv2';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent_Liveness, type AgentSpec } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  CommandSchema,
  DeliveryUpdate_State,
  HelloSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  type AgentRecord,
  AgentRecordSchema,
  type DeliveryRecord,
  DeliveryRecordSchema,
} from '../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { openRedisStore } from '../../src/state/redis/store.ts';
import type { Store } from '../../src/state/store.ts';
import { AgentWatch } from '../support/agent-watch.ts';
import { bearer } from '../support/clients.ts';
import type { SimAgent } from '../support/sim-agent.ts';
import { Stack } from '../support/stack.ts';
import { pause, until } from '../support/until.ts';

/** A field that this version does not know: number 1000, bytes. */
const LATER = 1000;
const later = (message: Message, text: string): void => {
  const data = Uint8Array.of(text.length, ...Buffer.from(text));
  message.$unknown = [...(message.$unknown ?? []), { no: LATER, wireType: 2, data }];
};
const laterOf = (message: Message | undefined): string[] =>
  (message?.$unknown ?? []).map(({ data }) => Buffer.from(data.subarray(1)).toString());

/** What a later version writes, and what this one makes of it, on one Redis. */
describe('records of a later version', () => {
  let stack: Stack;
  /** The later version's hand. */
  let store: Store;
  let watch: AgentWatch;
  beforeAll(async () => {
    stack = await Stack.start('redis');
    store = await openRedisStore({
      ...{ url: stack.service.store, keyPrefix: 'orchestrator', database: 'agents_db', minReplicas: 0 },
      ...{ waitTimeoutMs: 500, clock: systemClock, log: silentLogger },
    });
    watch = await AgentWatch.open(stack.clients);
  });
  afterAll(async () => {
    await watch?.close();
    await store?.close();
    await stack?.dispose();
  });

  async function read<M extends Message>(
    schema: GenMessage<M>,
    key: string,
  ): Promise<MessageShape<GenMessage<M>>> {
    const entry = await store.get('default', key);
    if (entry === undefined) throw new Error(`no ${key}`);
    return fromBinary(schema, entry.value);
  }
  const recordOf = (id: string): Promise<AgentRecord> => read(AgentRecordSchema, `agent/${id}`);

  /** Rewrites an agent's record as a later version does. */
  async function rewrite(id: string, change: (record: AgentRecord) => void): Promise<void> {
    const key = `agent/${id}`;
    const entry = await store.get('default', key);
    const record = fromBinary(AgentRecordSchema, entry?.value ?? new Uint8Array());
    change(record);
    const outcome = await store.commit({
      namespace: 'default',
      checks: [{ key, revision: entry?.revision ?? 0n }],
      puts: [{ key, value: toBinary(AgentRecordSchema, record) }],
    });
    expect(outcome.kind).toBe('committed');
    const { revision } = outcome as { revision: bigint };
    await stack.clients.agents.getAgent({ agentId: id, minRevision: revision });
  }

  async function agentOfALaterVersion(id: string): Promise<SimAgent> {
    const agent = stack.agent({ id });
    await agent.register({ spec: { kind: 'k', labels: { tier: 'web' } } });
    await rewrite(id, (record) => {
      later(record, 'record');
      if (record.agent === undefined) throw new Error('no agent');
      later(record.agent, 'agent');
      if (record.agent.spec !== undefined) later(record.agent.spec, 'spec');
    });
    return agent;
  }

  const kept = async (id: string) => {
    const record = await recordOf(id);
    return [record, record.agent, record.agent?.spec].flatMap(laterOf);
  };
  const all = ['record', 'agent', 'spec'];

  it('keep the fields that this one does not know, whatever it does to the agent', async () => {
    const { agents } = stack.clients;
    const agent = await agentOfALaterVersion('s1');
    await agent.attach({ instanceId: 'p' }).welcome;
    expect(await kept('s1'), 'attached').toEqual(all);
    const labels = { labels: { tier: 'db' } };
    await agents.updateAgent({ agentId: 's1', spec: labels, updateMask: { paths: ['labels'] } });
    expect(await kept('s1'), 'updated').toEqual(all);
    const deadline = { seconds: 60n, nanos: 0 };
    await agents.drainAgent({ agentId: 's1', reason: 'upgrade', deadline });
    expect(await kept('s1'), 'drained').toEqual(all);
    await agents.resumeAgent({ agentId: 's1' });
    expect(await kept('s1'), 'resumed').toEqual(all);
    await agents.quarantineAgent({ agentId: 's1', reason: 'look' });
    expect(await kept('s1'), 'quarantined').toEqual(all);
    await agents.resumeAgent({ agentId: 's1' });
    agent.session?.break();
    await watch.untilLiveness('s1', Agent_Liveness.DISCONNECTED);
    expect(await kept('s1'), 'disconnected').toEqual(all);
    await agent.attach({ instanceId: 'p' }).welcome;
    agent.session?.break();
    await watch.untilLiveness('s1', Agent_Liveness.LOST);
    expect(await kept('s1'), 'lost').toEqual(all);
    await agents.registerAgent({
      agentId: 's1',
      spec: { kind: 'k', labels: { tier: 'web' } },
      takeover: true,
    });
    expect((await kept('s1')).slice(0, 2), 'registered again').toEqual(all.slice(0, 2));
  });

  it('that an operator updated are not reset when their agent registers with the same spec as ever', async () => {
    const { agents } = stack.clients;
    const agent = stack.agent({ id: 's2' });
    const spec = { kind: 'k', labels: { tier: 'web' } };
    await agent.register({ spec });
    // Its own spec, with a field of the later version in it, as the agent sends it each time.
    const asSent = async () => {
      const { agent: found } = await recordOf('s2');
      const sent = { ...(found?.spec as AgentSpec) };
      if (sent.$unknown === undefined) later(sent, 'spec');
      return sent;
    };
    const sent = await asSent();
    const register = () => agents.registerAgent({ agentId: 's2', spec: sent }, bearer(agent.token ?? ''));
    await register();
    const update = { labels: { tier: 'db' } };
    await agents.updateAgent({ agentId: 's2', spec: update, updateMask: { paths: ['labels'] } });
    await register();
    const { agent: after } = await recordOf('s2');
    expect(after?.spec?.labels).toEqual({ tier: 'db' });
    expect(laterOf(after?.spec)).toEqual(['spec']);
    // Another value in it is another spec.
    sent.$unknown = [];
    later(sent, 'changed');
    await register();
    expect(laterOf((await recordOf('s2')).agent?.spec)).toEqual(['changed']);
  });

  it('keep unknown fields of a delivery that is handed out, taken on and done, and leave unknown kinds alone', async () => {
    const agent = await agentOfALaterVersion('s3');
    const put = async (id: string, change: (record: DeliveryRecord) => void) => {
      const record = create(DeliveryRecordSchema, {
        ...{ format: 1, id, agentId: 's3', orderingKey: id, maxTries: 5 },
        item: { case: 'command', value: create(CommandSchema, { type: 'poke' }) },
      });
      later(record, id);
      change(record);
      const value = toBinary(DeliveryRecordSchema, record);
      await store.commit({ namespace: 'default', puts: [{ key: `mail/s3/${id}`, value }] });
      return value;
    };
    const unknown = await put('kind', (record) => {
      record.item = { case: undefined };
      later(record, 'the kind itself');
    });
    await put('known', (record) => {
      if (record.item.case === 'command') later(record.item.value, 'command');
    });
    const handed: { id: string; attempt: bigint }[] = [];
    const session = agent.attach(create(HelloSchema, { maxInFlight: 8 }));
    session.onDelivery = ({ work }) =>
      handed.push({ id: work?.deliveryId ?? '', attempt: work?.attempt ?? 0n });
    await session.welcome;
    await until(
      () => handed.length,
      (count) => count > 0,
      { what: 'the delivery' },
    );
    const one = handed[0];
    expect(one?.id).toBe('known');
    const claimed = await read(DeliveryRecordSchema, 'mail/s3/known');
    expect(laterOf(claimed)).toEqual(['known']);
    const work = { deliveryId: 'known', attempt: one?.attempt ?? 0n };
    const say = (state: DeliveryUpdate_State) =>
      session.send({ frame: { case: 'deliveryUpdate', value: { work, state } } });
    say(DeliveryUpdate_State.ACCEPTED);
    const accepted = await until(
      () => read(DeliveryRecordSchema, 'mail/s3/known'),
      (record) => record.accepted,
    );
    expect(laterOf(accepted)).toEqual(['known']);
    expect(laterOf(accepted.item.value)).toEqual(['command']);
    say(DeliveryUpdate_State.SUCCEEDED);
    await until(
      () => store.get('default', 'mail/s3/known'),
      (entry) => entry === undefined,
    );
    await pause(1_000);
    expect(handed.map(({ id }) => id)).toEqual(['known']);
    const left = await store.get('default', 'mail/s3/kind');
    expect(Buffer.from(left?.value ?? [])).toEqual(Buffer.from(unknown));
  });

  it('of kinds, states and series that this one has never heard of are read around', async () => {
    const { agents, monitoring } = stack.clients;
    const agent = await agentOfALaterVersion('s4');
    await rewrite('s4', (record) => {
      if (record.agent === undefined) return;
      Object.assign(record.agent, { phase: 77, liveness: 78 });
    });
    const bytes = Uint8Array.of(255, 255, 255, 1);
    await store.commit({
      namespace: 'default',
      puts: [
        { key: 'future/s4', value: bytes },
        { key: 'agents/s4', value: bytes },
        { key: 'lease/future', value: new Uint8Array() },
      ],
      appends: [{ series: 'future', value: bytes }],
    });
    const live = { namespace: 'default', epoch: 1n, sequence: 1, value: bytes };
    await store.putLive([{ ...live, key: 'future/s4' }]);
    const found = await agents.getAgent({ agentId: 's4' });
    expect(found.agent).toMatchObject({ phase: 77, liveness: 78 });
    await until(
      () => watch.latest('s4')?.liveness as number,
      (liveness) => liveness === 78,
    );
    const { agents: listed } = await agents.listAgents({});
    expect(listed.find(({ id }) => id === 's4')).toMatchObject({ phase: 77, liveness: 78 });
    expect((await agents.explainAgent({ agentId: 's4' })).agent?.id).toBe('s4');
    expect((await monitoring.getSystemStatus({})).status?.fleet?.agents).toBeGreaterThan(0);
    const json = await fetch(
      `http://${stack.service.http}/mycosoft.orchestrator.agent.v1.AgentService/GetAgent`,
      {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ agentId: 's4' }),
      },
    );
    expect(await json.json()).toMatchObject({ agent: { phase: 77, liveness: 78 } });
    await agent.attach({ instanceId: 'p' }).welcome;
    const attached = await recordOf('s4');
    expect(attached.agent).toMatchObject({ phase: 77, liveness: Agent_Liveness.CONNECTED });
    expect([...((await store.get('default', 'future/s4'))?.value ?? [])]).toEqual([...bytes]);
    const errors = stack.service.logs.filter(({ level }) => level === 'error');
    expect(errors).toEqual([]);
    await stack.restart();
    const again = await stack.clients.agents.getAgent({ agentId: 's4' });
    expect(again.agent?.phase).toBe(77);
    expect(stack.service.logs.filter(({ level }) => level === 'error')).toEqual([]);
  });
});
