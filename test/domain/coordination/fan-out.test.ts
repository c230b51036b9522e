import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { SendMessageSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  FanOutRecordSchema,
  LinkMarkSchema,
} from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { decodeDelivery } from '../../../src/domain/coordination/delivery-record.ts';
import {
  decodeFanOutList,
  encodeFanOut,
  fanOutKey,
  fanOutListKey,
} from '../../../src/domain/coordination/messages/message-record.ts';
import { type Commit, QUIET_PREFIX } from '../../../src/state/store.ts';
import { fleet, useFleet } from '../agent/conversation-fixture.ts';
import { startFleet, turns } from '../agent/fleet-fixture.ts';

useFleet();

const RECEIVERS = 900;
const receivers = Array.from({ length: RECEIVERS }, (_, index) => `w${index}`).sort();

const broadcast = async (): Promise<void> => {
  for (const id of receivers) await fleet.register(id, { labels: { tier: 'x' } });
  const request = create(SendMessageSchema, {
    message: { id: 'm1', type: 'note', data: { data: { case: 'text', value: 'hi' } } },
    to: { case: 'selector', value: 'tier=x' },
  });
  const caller = { principal: 'ann', token: undefined };
  await fleet.coordination.messages.send('default', request, { caller, sessionEpoch: 0n });
  await turns();
};
const upkeep = async (of = fleet): Promise<void> => {
  const fence = { key: 'lease/care', revision: 0n };
  for (const chore of of.chores)
    await chore.run({ namespace: 'default', fence, storeMs: await of.store.now() });
  await turns();
};
const keys = (): string[] => [...(fleet.store.data.namespaces.get('default')?.entries.keys() ?? [])];
const fanOutKeys = (): string[] => keys().filter((key) => key.includes('fanout/'));
/** Of every message put into a mailbox, oldest first. */
const receiversOf = (commits: readonly Commit[]): string[] =>
  commits.flatMap(({ puts = [] }) =>
    puts.filter(({ key }) => key.startsWith('mail/')).map(({ value }) => decodeDelivery(value).agentId),
  );
const isChunk = ({ puts = [] }: Commit): boolean => puts.some(({ key }) => key.startsWith('mail/'));

describe('a fan-out', () => {
  it('goes on from the stored position when its holder dies in the middle: nobody is left out or served twice', async () => {
    await broadcast();
    // The second of the chunks that follow is stored, but its holder does not live to hear of it.
    let chunks = 0;
    fleet.store.faults.before = async (commit) => {
      if (!isChunk(commit)) return;
      chunks += 1;
      if (chunks === 2) fleet.store.faults.loseAnswers = 1;
    };
    await expect(upkeep()).rejects.toThrow();
    fleet.store.faults.before = undefined;
    expect(receiversOf(fleet.store.commits)).toHaveLength(768);
    const next = await startFleet({ store: fleet.store, clock: fleet.clock, replicaId: 'replica-2' });
    await upkeep(next);
    await next.stop();
    expect(receiversOf(fleet.store.commits).sort()).toEqual(receivers);
    expect(fanOutKeys()).toEqual([]);
  });

  it('writes its list of receivers once, and tells followers of a position only', async () => {
    const sizes = new Map<string, number[]>();
    const stop = await fleet.store.follow({
      batch: ({ changes }) => {
        for (const { key, value } of changes) {
          if (!key.includes('fanout/') || value === undefined) continue;
          sizes.set(key, [...(sizes.get(key) ?? []), value.length]);
        }
      },
      snapshot: () => {},
      live: () => {},
    });
    await broadcast();
    await upkeep();
    stop();
    const [heard, ...others] = [...sizes];
    expect(others).toEqual([]);
    expect(heard?.[0].startsWith(QUIET_PREFIX)).toBe(false);
    expect(heard?.[1]).toHaveLength(3);
    for (const bytes of heard?.[1] ?? []) expect(bytes).toBeLessThan(200);
    const lists = fleet.store.commits.flatMap(({ puts = [] }) =>
      puts.filter(({ key }) => key.startsWith(`${QUIET_PREFIX}fanout/`)),
    );
    expect(lists).toHaveLength(1);
    expect(fleet.mailboxes.total()).toBe(RECEIVERS);
  });

  it('that another replica has brought to its end is left alone by one that lags behind', async () => {
    await broadcast();
    const next = await startFleet({ store: fleet.store, clock: fleet.clock, replicaId: 'replica-2' });
    const [fanOuts] = next.chores.filter(({ name }) => name === 'fan-out of messages');
    const context = { namespace: 'default', fence: { key: 'lease/care', revision: 0n }, storeMs: 0 };
    fleet.store.faults.lagging = true;
    await upkeep();
    await fanOuts?.run(context);
    expect(receiversOf(fleet.store.commits).sort()).toEqual(receivers);
    fleet.store.faults.lagging = false;
    await next.stop();
  });

  it('that an earlier version left under way is taken on, with what link policies made of it', async () => {
    await broadcast();
    const [listKey = ''] = fanOutKeys().filter((key) => key.startsWith(QUIET_PREFIX));
    const entry = await fleet.store.get('default', listKey);
    if (entry === undefined) throw new Error('no list');
    const { delivery, agentIds } = decodeFanOutList(entry.value);
    if (delivery === undefined) throw new Error('no delivery');
    const links = { [agentIds.at(-1) ?? '']: create(LinkMarkSchema, { policyId: 'p1' }) };
    const old = create(FanOutRecordSchema, { agentIds, delivery, links });
    await fleet.store.commit({
      namespace: 'default',
      puts: [{ key: fanOutKey('old'), value: encodeFanOut(old) }],
      deletes: fanOutKeys(),
    });
    const from = fleet.store.commits.length;
    await turns();
    await upkeep();
    const stored = fleet.store.commits.slice(from);
    expect(receiversOf(stored)).toEqual(agentIds);
    const marked = stored.flatMap(({ puts = [] }) =>
      puts.filter(({ key }) => key.startsWith('mail/')).map(({ value }) => decodeDelivery(value)),
    );
    expect(marked.filter(({ linkPolicyId }) => linkPolicyId === 'p1').map(({ agentId }) => agentId)).toEqual([
      agentIds.at(-1),
    ]);
    const lists = stored.filter(({ puts = [] }) => puts.some(({ key }) => key === fanOutListKey('old')));
    expect(lists).toHaveLength(1);
    expect(fanOutKeys()).toEqual([]);
  });
});
