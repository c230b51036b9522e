import { create, toBinary } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { DeregisterAgentRequestSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  DeliverySchema,
  DeliveryUpdate_State,
  PayloadSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { encodeFrame, resultFrame } from '../../../src/domain/agent/frames.ts';
import { DEAD_PREFIX } from '../../../src/domain/coordination/delivery-record.ts';
import { StoreUnavailableError } from '../../../src/state/store.ts';
import { until } from '../../support/until.ts';
import { fleet, protocolOptions, token, useFleet } from '../agent/conversation-fixture.ts';
import { turns } from '../agent/fleet-fixture.ts';
import { attach, mail, type TestAgent } from './delivery-fixture.ts';

const { ACCEPTED, DECLINED, SUCCEEDED, FAILED } = DeliveryUpdate_State;

useFleet();

let agent: TestAgent;
beforeEach(async () => {
  agent = await attach(fleet, protocolOptions(), token);
});

const ids = (of = agent) => of.deliveries().map(({ work }) => work?.deliveryId);
const first = (of = agent) => {
  const [delivery] = of.deliveries();
  if (delivery === undefined) throw new Error('nothing was delivered');
  return delivery;
};
const last = (of = agent) => {
  const delivery = of.deliveries().at(-1);
  if (delivery === undefined) throw new Error('nothing was delivered');
  return delivery;
};
const left = () => fleet.mailboxes.count('default', 'a1');
const deadLetters = () =>
  [...(fleet.store.data.namespaces.get('default')?.entries.keys() ?? [])].filter((key) =>
    key.startsWith(DEAD_PREFIX),
  );
const free = { orderingKey: '' };

describe('deliveries', () => {
  it('come down the session in their order, and are gone when they succeeded', async () => {
    for (const id of ['m1', 'm2', 'm3']) await mail(fleet, 'a1', id, free);
    expect(ids()).toEqual(['m1', 'm2', 'm3']);
    for (const delivery of agent.deliveries()) expect(await agent.say(delivery, SUCCEEDED)).toBe('');
    expect(left()).toBe(0);
    expect(deadLetters()).toEqual([]);
  });

  it('wait for an agent that is not attached', async () => {
    agent.breakOff();
    await turns();
    await mail(fleet, 'a1', 'm1');
    const next = await attach(fleet, protocolOptions(), token);
    expect(ids(next)).toEqual(['m1']);
  });

  it('keep within max_in_flight, and an acceptance makes room', async () => {
    agent = await attach(fleet, protocolOptions(), token, { maxInFlight: 2 });
    for (const id of ['m1', 'm2', 'm3', 'm4']) await mail(fleet, 'a1', id, free);
    expect(ids()).toEqual(['m1', 'm2']);
    await agent.say(first(), ACCEPTED);
    await turns();
    expect(ids()).toEqual(['m1', 'm2', 'm3']);
  });

  it('of one ordering key come one at a time, and others pass', async () => {
    await mail(fleet, 'a1', 'k1', { orderingKey: 'k' });
    await mail(fleet, 'a1', 'k2', { orderingKey: 'k' });
    await mail(fleet, 'a1', 'j1', { orderingKey: 'j' });
    expect(ids()).toEqual(['k1', 'j1']);
    await agent.say(first(), ACCEPTED);
    await turns();
    expect(ids()).toEqual(['k1', 'j1', 'k2']);
  });

  it('that come again after a broken session come before later ones of their key, accepted before or not', async () => {
    await mail(fleet, 'a1', 'k1', { orderingKey: 'k' });
    await mail(fleet, 'a1', 'k2', { orderingKey: 'k' });
    await agent.say(first(), ACCEPTED);
    await turns();
    expect(ids()).toEqual(['k1', 'k2']);
    agent.breakOff();
    await turns();
    // Somebody else rewrites the first one just before it is claimed anew, so that its claim is the later one.
    fleet.store.faults.before = async ({ puts }) => {
      if (!puts?.some(({ key }) => key === 'mail/a1/k1')) return;
      fleet.store.faults.before = undefined;
      const entry = await fleet.store.get('default', 'mail/a1/k1');
      if (entry !== undefined) await fleet.store.commit({ namespace: 'default', puts: [entry] });
    };
    const next = await attach(fleet, protocolOptions(), token);
    await until(
      () => ids(next),
      (delivered) => delivered.length > 0,
    );
    expect(ids(next)).toEqual(['k1']);
    await next.say(first(next), ACCEPTED);
    await turns();
    expect(ids(next)).toEqual(['k1', 'k2']);
  });

  it('that are finished in the first breath of a session are not revoked', async () => {
    await mail(fleet, 'a1', 'm1', free);
    const delivery = first();
    await agent.say(delivery, ACCEPTED);
    agent.breakOff();
    await turns();
    const { work } = delivery;
    const next = await attach(fleet, protocolOptions(), token, { held: [work ?? {}] }, [
      { frameId: 'early', frame: { case: 'deliveryUpdate', value: { work: work ?? {}, state: SUCCEEDED } } },
    ]);
    await turns(30);
    expect(next.frames().map(({ case: kind }) => kind)).toEqual(['welcome', 'result']);
    expect(left()).toBe(0);
  });

  it('are delivered again when nobody answers, with a higher attempt and before later ones of their key', async () => {
    await mail(fleet, 'a1', 'k1', { orderingKey: 'k' });
    await mail(fleet, 'a1', 'k2', { orderingKey: 'k' });
    await fleet.pass(10_020);
    expect(ids()).toEqual(['k1', 'k1']);
    const [one, two] = agent.deliveries();
    expect(two?.work?.attempt).toBe((one?.work?.attempt ?? 0n) + 1n);
    expect(await agent.say(first(), SUCCEEDED)).toBe('ATTEMPT_STALE');
    expect(await agent.say(last(), SUCCEEDED)).toBe('');
    await turns();
    expect(ids()).toEqual(['k1', 'k1', 'k2']);
  });

  it('wait longer when this process stood still itself', async () => {
    await mail(fleet, 'a1', 'm1');
    fleet.stall(15_000);
    await turns();
    expect(ids()).toEqual(['m1']);
  });

  it('become dead letters after their tries', async () => {
    await mail(fleet, 'a1', 'm1', { ...free, maxTries: 2 });
    await fleet.pass(10_020);
    await fleet.pass(10_020);
    await turns();
    expect(ids()).toEqual(['m1', 'm1']);
    expect(left()).toBe(0);
    expect(deadLetters()).toEqual(['dead/a1/m1']);
    expect(fleet.types('a1')).toContain('command.given_up');
    expect(agent.frames().at(-1)?.case).toBe('revoke');
  });

  it('are given up once, and not again and again while this replica hears of it late', async () => {
    await mail(fleet, 'a1', 'm1', { ...free, maxTries: 1 });
    fleet.store.faults.lagging = true;
    let tries = 0;
    fleet.store.faults.before = async ({ deletes }) => {
      if (deletes?.includes('mail/a1/m1')) tries += 1;
    };
    await fleet.pass(10_020);
    await turns(100);
    expect(deadLetters()).toEqual(['dead/a1/m1']);
    expect(tries).toBe(1);
    fleet.store.faults.lagging = false;
    fleet.store.catchUp();
    await turns();
    expect(agent.frames().at(-1)?.case).toBe('revoke');
  });

  it('that cannot be compared with what an agent holds are no failure of the agent', async () => {
    agent.breakOff();
    await fleet.settle();
    const before = fleet.record('a1')?.failures.length;
    const options = protocolOptions();
    const reconcile = () => Promise.reject(new Error('this replica lags behind'));
    const lags = Object.assign(Object.create(fleet.deliveries) as typeof fleet.deliveries, { reconcile });
    await attach(fleet, { ...options, deliveries: lags }, token);
    await fleet.settle();
    expect(fleet.liveness('a1')).toBe(Agent_Liveness.DISCONNECTED);
    expect(fleet.record('a1')?.failures).toHaveLength(before ?? 0);
  });

  it('that nobody is there for any more are taken away, also where no agent is left', async () => {
    agent.breakOff();
    await turns();
    // Ordered of somebody else while its own deregistration was under way.
    await mail(fleet, 'ghost', 'm1');
    await mail(fleet, 'a1', 'm2');
    await fleet.tend();
    expect(fleet.mailboxes.count('default', 'ghost')).toBe(0);
    expect(left()).toBe(1);
    expect(deadLetters()).toEqual([]);
    await fleet.agents.deregister(create(DeregisterAgentRequestSchema, { agentId: 'a1' }), {
      principal: 'ann',
      token: undefined,
    });
    await mail(fleet, 'a1', 'm3');
    await fleet.tend();
    expect(fleet.mailboxes.total()).toBe(0);
  });

  it('that were declined for now come again after a pause', async () => {
    await mail(fleet, 'a1', 'm1', free);
    await agent.say(first(), DECLINED, { error: 'busy', retryable: true });
    await fleet.pass(900);
    expect(ids()).toEqual(['m1']);
    await fleet.pass(200);
    expect(ids()).toEqual(['m1', 'm1']);
  });

  it('that were accepted stay with an agent that still holds them after a reconnect', async () => {
    await mail(fleet, 'a1', 'm1', free);
    const delivery = first();
    await agent.say(delivery, ACCEPTED);
    agent.breakOff();
    await turns();
    const next = await attach(fleet, protocolOptions(), token, { held: [delivery.work ?? {}] });
    expect(next.frames()[0]).toMatchObject({ case: 'welcome', value: { revoked: [] } });
    expect(ids(next)).toEqual([]);
    expect(await next.say(delivery, SUCCEEDED)).toBe('');
    expect(left()).toBe(0);
  });

  it('that were accepted come again when the next process does not hold them', async () => {
    await mail(fleet, 'a1', 'm1', free);
    await agent.say(first(), ACCEPTED);
    agent.breakOff();
    await turns();
    const next = await attach(fleet, protocolOptions(), token);
    expect(ids(next)).toEqual(['m1']);
    expect(last(next).work?.attempt).toBeGreaterThan(first().work?.attempt ?? 0n);
  });

  it('that are held and finished or unknown are revoked in welcome', async () => {
    await mail(fleet, 'a1', 'm1', free);
    const delivery = first();
    await agent.say(delivery, SUCCEEDED);
    const held = [delivery.work ?? {}, { deliveryId: 'never', attempt: 3n }];
    const next = await attach(fleet, protocolOptions(), token, { held });
    expect(next.frames()[0]).toMatchObject({
      case: 'welcome',
      value: { revoked: [{ deliveryId: 'm1' }, { deliveryId: 'never' }] },
    });
  });

  it('are revoked when they are taken out of the mailbox by others', async () => {
    await mail(fleet, 'a1', 'm1', free);
    await agent.say(first(), ACCEPTED);
    await fleet.store.commit({ namespace: 'default', deletes: ['mail/a1/m1'] });
    await turns();
    expect(agent.frames().at(-1)).toMatchObject({ case: 'revoke', value: { work: first().work } });
  });

  it('that ended come again, with a higher attempt, when the store falls back to before their end', async () => {
    await mail(fleet, 'a1', 'm1', free);
    const entries = fleet.store.data.namespaces.get('default')?.entries;
    const key = 'mail/a1/m1';
    for (const answered of [false, true]) {
      if (answered) expect(await agent.say(last(), ACCEPTED)).toBe('');
      const before = entries?.get(key);
      expect(await agent.say(last(), SUCCEEDED)).toBe('');
      expect(left()).toBe(0);
      const { attempt = 0n } = last().work ?? {};
      const count = agent.deliveries().length;
      if (before !== undefined) entries?.set(key, before);
      fleet.store.promote();
      await fleet.pass(200);
      expect(agent.deliveries()).toHaveLength(count + 1);
      expect(last().work?.attempt).toBeGreaterThan(attempt);
    }
    expect(await agent.say(last(), SUCCEEDED)).toBe('');
    expect(left()).toBe(0);
  });

  it('that ended come again, with a higher attempt, when the store falls back to an earlier try', async () => {
    await mail(fleet, 'a1', 'm1', free);
    const entries = fleet.store.data.namespaces.get('default')?.entries;
    const before = entries?.get('mail/a1/m1');
    await fleet.pass(12_000);
    expect(await agent.say(last(), SUCCEEDED)).toBe('');
    const { attempt = 0n } = last().work ?? {};
    const count = agent.deliveries().length;
    if (before !== undefined) entries?.set('mail/a1/m1', before);
    fleet.store.promote();
    await fleet.pass(200);
    expect(agent.deliveries()).toHaveLength(count + 1);
    expect(last().work?.attempt).toBeGreaterThan(attempt);
  });

  it('that were declined for now come again when the store falls back to before that', async () => {
    await mail(fleet, 'a1', 'm1', free);
    const entries = fleet.store.data.namespaces.get('default')?.entries;
    const before = entries?.get('mail/a1/m1');
    expect(await agent.say(last(), DECLINED, { retryable: true })).toBe('');
    const { attempt = 0n } = last().work ?? {};
    if (before !== undefined) entries?.set('mail/a1/m1', before);
    fleet.store.promote();
    await fleet.pass(200);
    expect(agent.deliveries()).toHaveLength(2);
    expect(last().work?.attempt).toBeGreaterThan(attempt);
  });

  it('that were held over a reconnect and then failed for now come again', async () => {
    await mail(fleet, 'a1', 'm1', free);
    expect(await agent.say(first(), ACCEPTED)).toBe('');
    const { work } = first();
    agent.breakOff();
    const next = await attach(fleet, protocolOptions(), token, { held: work === undefined ? [] : [work] });
    expect(await next.say(first(), FAILED, { retryable: true })).toBe('');
    await fleet.pass(2_000);
    expect(next.deliveries()).toHaveLength(1);
    expect(await next.say(last(next), SUCCEEDED)).toBe('');
  });

  it.each(['a', 'no'])(
    'come again, with a higher attempt, when the store falls back past %s try',
    async (which) => {
      await mail(fleet, 'a1', 'm1', free);
      const entries = fleet.store.data.namespaces.get('default')?.entries;
      const key = 'mail/a1/m1';
      const before = entries?.get(key);
      if (which === 'a') await fleet.pass(12_000);
      else entries?.delete(key);
      fleet.store.promote();
      await fleet.pass(200);
      const { attempt = 0n } = last().work ?? {};
      const count = agent.deliveries().length;
      if (before !== undefined) entries?.set(key, before);
      fleet.store.promote();
      await fleet.pass(200);
      expect(agent.deliveries()).toHaveLength(count + 1);
      expect(last().work?.attempt).toBeGreaterThan(attempt);
    },
  );

  it.each(['attempt', 'payload'])('are not closed over while their %s is with the store', async (what) => {
    agent.breakOff();
    await turns();
    await fleet.settle();
    await mail(fleet, 'a1', 'm1', { payloadKey: 'payload/m1' });
    let resolve = (): void => {};
    const promise = new Promise<void>((done) => {
      resolve = done;
    });
    const read = fleet.store.get.bind(fleet.store);
    if (what === 'payload') {
      fleet.store.get = async (namespace, key) => {
        if (key === 'payload/m1') await promise;
        return read(namespace, key);
      };
    } else {
      fleet.store.faults.before = ({ puts }) =>
        puts?.some(({ key }) => key === 'mail/a1/m1') ? promise : Promise.resolve();
    }
    await attach(fleet, protocolOptions(), token);
    await turns();
    let idle = false;
    const closing = fleet.settle().then(() => {
      idle = true;
    });
    await turns();
    expect(idle).toBe(false);
    resolve();
    await closing;
  });

  it('come once, also if an earlier attempt is answered while their payload is read', async () => {
    agent.breakOff();
    await turns();
    await mail(fleet, 'a1', 'm1', { payloadKey: 'payload/m1' });
    const value = toBinary(PayloadSchema, create(PayloadSchema));
    await fleet.store.commit({ namespace: 'default', puts: [{ key: 'payload/m1', value }] });
    let resolve = (): void => {};
    const promise = new Promise<void>((done) => {
      resolve = done;
    });
    const read = fleet.store.get.bind(fleet.store);
    fleet.store.get = async (namespace, key) => {
      if (key === 'payload/m1') await promise;
      return read(namespace, key);
    };
    const next = await attach(fleet, protocolOptions(), token);
    const early = create(DeliverySchema, { work: { deliveryId: 'm1', attempt: 1n } });
    expect(await next.say(early, SUCCEEDED)).toBe('ATTEMPT_STALE');
    resolve();
    await fleet.pass(100);
    expect(next.deliveries()).toHaveLength(1);
  });

  it.each(['attempt', 'payload'])(
    'keep within max_in_flight while their %s is with the store',
    async (what) => {
      agent.breakOff();
      await turns();
      const value = toBinary(PayloadSchema, create(PayloadSchema));
      await fleet.store.commit({ namespace: 'default', puts: [{ key: 'payload', value }] });
      const sent = ['m1', 'm2', 'm3', 'm4'];
      for (const id of sent) await mail(fleet, 'a1', id, { ...free, payloadKey: 'payload' });
      let resolve = (): void => {};
      const promise = new Promise<void>((done) => {
        resolve = done;
      });
      const read = fleet.store.get.bind(fleet.store);
      fleet.store.get = async (namespace, key) => {
        if (what === 'payload' && key === 'payload') await promise;
        return read(namespace, key);
      };
      if (what === 'attempt') {
        fleet.store.faults.before = ({ puts }) =>
          puts?.some(({ key }) => key.startsWith('mail/')) ? promise : Promise.resolve();
      }
      const next = await attach(fleet, protocolOptions(), token, { maxInFlight: 1 });
      for (let round = 0; round < 4; round += 1) {
        fleet.deliveries.wake('default', 'a1');
        await turns();
      }
      resolve();
      await turns();
      await fleet.settle();
      expect(ids(next)).toEqual(['m1']);
      const tries = sent.map((id) => fleet.mailboxes.get('default', 'a1', id)?.record.tries);
      expect(tries).toEqual([1, 0, 0, 0]);
      await next.say(first(next), ACCEPTED);
      await turns();
      expect(ids(next)).toEqual(['m1', 'm2']);
    },
  );

  it('whose payload was read for a client that no longer reads wait until it does', async () => {
    const value = toBinary(PayloadSchema, create(PayloadSchema));
    await fleet.store.commit({ namespace: 'default', puts: [{ key: 'payload', value }] });
    let resolve = (): void => {};
    const promise = new Promise<void>((done) => {
      resolve = done;
    });
    const read = fleet.store.get.bind(fleet.store);
    fleet.store.get = async (namespace, key) => {
      if (key === 'payload') await promise;
      return read(namespace, key);
    };
    await mail(fleet, 'a1', 'm1', { ...free, payloadKey: 'payload' });
    agent.channel.reads = false;
    agent.channel.send(encodeFrame(resultFrame('x'.repeat(65_536), undefined)));
    resolve();
    await turns();
    await fleet.settle();
    const known = fleet.mailboxes.get('default', 'a1', 'm1');
    expect(known && fleet.deliveries.isWithAgent(known)).toBe(false);
    agent.channel.drain();
    await turns();
    expect(ids()).toEqual(['m1']);
  });

  it('that wait for a store that is away keep nobody from closing', async () => {
    await mail(fleet, 'a1', 'm1', free);
    let tries = 0;
    fleet.store.faults.before = ({ puts }) => {
      if (!puts?.some(({ key }) => key === 'mail/a1/m1')) return Promise.resolve();
      tries += 1;
      return Promise.reject(
        new StoreUnavailableError({ message: 'away', outcome: 'not_applied', retryAfterMs: 1000 }),
      );
    };
    await fleet.pass(10_020);
    expect([tries, ids()]).toEqual([1, ['m1']]);
    await Promise.race([
      fleet.settle(),
      new Promise((_, reject) => setTimeout(() => reject(new Error('still busy')), 500)),
    ]);
  });

  it('wait for a client that does not read', async () => {
    agent.channel.reads = false;
    agent.channel.send(encodeFrame(resultFrame('x'.repeat(65_536), undefined)));
    await mail(fleet, 'a1', 'm1', free);
    await mail(fleet, 'a1', 'm2', free);
    expect(ids()).toEqual([]);
    agent.channel.drain();
    await turns();
    expect(ids()).toEqual(['m1', 'm2']);
  });
});

describe('what an agent says of a delivery', () => {
  it('may be said again: the second time changes nothing', async () => {
    await mail(fleet, 'a1', 'm1', free);
    expect(await agent.say(first(), SUCCEEDED)).toBe('');
    expect(await agent.say(first(), SUCCEEDED)).toBe('');
    expect(await agent.say(first(), FAILED)).toBe('DELIVERY_UNKNOWN');
  });

  it('counts in the order in which it was said', async () => {
    await mail(fleet, 'a1', 'm1', free);
    const said = [agent.say(first(), ACCEPTED), agent.say(first(), ACCEPTED), agent.say(first(), SUCCEEDED)];
    expect(await Promise.all(said)).toEqual(['', '', '']);
  });

  it('is refused from a superseded session', async () => {
    await mail(fleet, 'a1', 'm1', free);
    const { work } = first();
    const older = fleet.sessions.get('default', 'a1');
    await attach(fleet, protocolOptions(), token, { held: [work ?? {}] });
    if (older === undefined || work === undefined) throw new Error('no session');
    const update = {
      $typeName: 'mycosoft.orchestrator.agent.v1.DeliveryUpdate',
      work,
      state: SUCCEEDED,
    } as never;
    await expect(fleet.deliveries.update(older, update)).rejects.toThrow('newer session');
    expect(left()).toBe(1);
  });

  it('is put off, and not taken for that of an older session, while the store has lost the attachment', async () => {
    const entries = fleet.store.data.namespaces.get('default')?.entries;
    const before = entries?.get('agent/a1');
    agent.breakOff();
    const next = await attach(fleet, protocolOptions(), token);
    await mail(fleet, 'a1', 'm1', free);
    const attached = entries?.get('agent/a1');
    if (before === undefined || attached === undefined) throw new Error('no agent');
    entries?.set('agent/a1', before);
    expect(await next.say(first(next), SUCCEEDED)).toBe('CONTENTION');
    expect(left()).toBe(1);
    entries?.set('agent/a1', attached);
    expect(await next.say(first(next), SUCCEEDED)).toBe('');
    expect(left()).toBe(0);
  });

  it('is refused while the store is away, loses nothing, and can be said again', async () => {
    await mail(fleet, 'a1', 'm1', free);
    fleet.store.faults.away = true;
    expect(await agent.say(first(), SUCCEEDED)).not.toBe('');
    expect(left()).toBe(1);
    fleet.store.faults.away = false;
    expect(await agent.say(first(), SUCCEEDED)).toBe('');
    expect(left()).toBe(0);
  });
});
