import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DeregisterAgentRequestSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  CommitStateRequestSchema,
  GetStateRequestSchema,
  ListStateRequestSchema,
  StateChange_Type,
  WatchStateRequestSchema,
  type WatchStateResponse,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import { watchState } from '../../../src/domain/coordination/state/state-watch.ts';
import { durationFromMs } from '../../../src/lib/proto-time.ts';
import { startFleet, type TestFleet, turns } from '../agent/fleet-fixture.ts';

const ANN = { principal: 'ann', token: undefined };
let fleet: TestFleet;
beforeEach(async () => {
  fleet = await startFleet();
});
afterEach(() => fleet.stop());

type Write = NonNullable<MessageInitShape<typeof CommitStateRequestSchema>['writes']>[number];
const text = (value: string) => ({ case: 'put' as const, value: { data: { case: 'text' as const, value } } });
const commit = async (
  writes: Write[],
  more: object = {},
  caller: { principal: string; token: string | undefined } = ANN,
) => fleet.coordination.state.commit(create(CommitStateRequestSchema, { writes, ...more }), caller);
const put = (key: string, value: string, more: object = {}): Promise<{ revision: bigint }> =>
  commit([{ key, operation: text(value), ...more } as Write]);
const get = async (key: string) => {
  const { entry } = await fleet.coordination.state.get(create(GetStateRequestSchema, { key }));
  return entry;
};
const textOf = async (key: string) => (await get(key))?.value?.data.value;
const upkeep = async () => {
  const fence = { key: 'lease/care', revision: 0n };
  for (const chore of fleet.coordination.chores)
    await chore.run({ namespace: 'default', fence, storeMs: await fleet.store.now() });
  await turns();
};
const keys = async (prefix = '') =>
  (await fleet.coordination.state.list(create(ListStateRequestSchema, { prefix }))).entries.map(
    ({ key }) => key,
  );

describe('CommitState', () => {
  it('writes several entries at one revision, which are read at once', async () => {
    const { revision } = await commit([
      { key: 'a', operation: text('1') },
      { key: 'b/c', operation: text('2') },
    ]);
    expect(await get('a')).toMatchObject({ key: 'a', revision, actor: 'ann', namespace: 'default' });
    expect(await textOf('b/c')).toBe('2');
  });

  it('does all or nothing', async () => {
    await put('a', '1');
    const refused = commit([
      { key: 'b', operation: text('2') },
      { key: 'a', operation: text('2'), expectedRevision: 0n },
    ]);
    await expect(refused).rejects.toMatchObject({ metadata: { key: 'a', current_revision: '1' } });
    await expect(get('b')).rejects.toThrow('no entry b');
  });

  it.each<[string, Write, boolean]>([
    [
      'puts what must not exist and does not',
      { key: 'new', operation: text('x'), expectedRevision: 0n },
      true,
    ],
    [
      'puts what must have a revision and has it',
      { key: 'a', operation: text('x'), expectedRevision: 1n },
      true,
    ],
    ['refuses what has another one', { key: 'a', operation: text('x'), expectedRevision: 9n }, false],
    [
      'removes what must have a revision',
      { key: 'a', operation: { case: 'remove', value: true }, expectedRevision: 1n },
      true,
    ],
    [
      'checks without writing',
      { key: 'a', operation: { case: 'check', value: true }, expectedRevision: 1n },
      true,
    ],
    [
      'checks that something does not exist',
      { key: 'a', operation: { case: 'check', value: true }, expectedRevision: 0n },
      false,
    ],
    ['removes what is not there', { key: 'none', operation: { case: 'remove', value: true } }, true],
  ])('%s', async (_, write, stored) => {
    await put('a', '1');
    const outcome = await commit([write]).then(
      () => true,
      () => false,
    );
    expect(outcome).toBe(stored);
  });

  it('keeps when an entry was created over its rewrites', async () => {
    await put('a', '1');
    const first = await get('a');
    fleet.clock.advance(5000);
    await put('a', '2');
    const second = await get('a');
    expect(second?.createTime).toEqual(first?.createTime);
    expect(second?.updateTime?.seconds).toBe((first?.updateTime?.seconds ?? 0n) + 5n);
  });

  it('answers a repeat with the first revision', async () => {
    const write: Write[] = [{ key: 'a', operation: text('1'), expectedRevision: 0n }];
    const first = await commit(write, { requestId: 'r' });
    expect(await commit(write, { requestId: 'r' })).toEqual(first);
    await expect(commit([{ key: 'a', operation: text('2') }], { requestId: 'r' })).rejects.toThrow(
      'before with another',
    );
  });

  it('does not refuse a repeat for what its first try wrote in the meantime', async () => {
    const write: Write[] = [{ key: 'a', operation: text('1'), expectedRevision: 0n }];
    const first = await commit(write, { requestId: 'r' });
    vi.spyOn(fleet.store, 'getRequest').mockResolvedValueOnce(undefined);
    expect(await commit(write, { requestId: 'r' })).toEqual(first);
  });

  it('lets one of two that compare and set win', async () => {
    await put('n', '0');
    const tries = [1, 2, 3, 4].map((value) =>
      put('n', `${value}`, { expectedRevision: 1n }).then(
        () => 1,
        () => 0,
      ),
    );
    expect((await Promise.all(tries)).reduce<number>((sum, won) => sum + won, 0)).toBe(1);
  });
});

describe('an entry that expires', () => {
  it('is gone for readers when its time has come, and for watchers with the next upkeep', async () => {
    await put('a', '1', { expireAfter: durationFromMs(5000) });
    await put('b', '1');
    fleet.clock.advance(5001);
    await expect(get('a')).rejects.toThrow('no entry');
    expect(await keys()).toEqual(['b']);
    expect(fleet.store.data.namespaces.get('default')?.entries.has('state/a')).toBe(true);
    await upkeep();
    expect(fleet.store.data.namespaces.get('default')?.entries.has('state/a')).toBe(false);
  });

  it('may be made anew as one that must not exist', async () => {
    await put('a', '1', { expireAfter: durationFromMs(5000) });
    fleet.clock.advance(5001);
    await put('a', '2', { expectedRevision: 0n });
    expect(await textOf('a')).toBe('2');
    await upkeep();
    expect(await textOf('a')).toBe('2');
  });
});

describe('an entry bound to a session', () => {
  const bind = async (instanceId = 'p1') => {
    const token = await fleet.register('w1');
    const { session } = await fleet.attach('w1', token, { instanceId });
    const caller = { principal: 'agent:default/w1', token };
    await commit(
      [{ key: 'mine', operation: text('x'), bindToSession: true }],
      { sessionEpoch: session.epoch },
      caller,
    );
    return { token, session, caller };
  };

  it('names its agent, and goes when that leaves', async () => {
    const { session } = await bind();
    expect(await get('mine')).toMatchObject({ boundAgentId: 'w1' });
    await upkeep();
    expect(await keys()).toEqual(['mine']);
    await fleet.sessions.left(session, 'done');
    await upkeep();
    expect(await keys()).toEqual([]);
  });

  it('stays when the same process attaches anew, and goes when another one does', async () => {
    const { token } = await bind();
    await fleet.attach('w1', token, { instanceId: 'p1' });
    await upkeep();
    expect(await keys()).toEqual(['mine']);
    await fleet.attach('w1', token, { instanceId: 'p2' });
    await upkeep();
    expect(await keys()).toEqual([]);
  });

  it('goes when the agent is deregistered', async () => {
    await bind();
    await fleet.agents.deregister(create(DeregisterAgentRequestSchema, { agentId: 'w1' }), ANN);
    await upkeep();
    expect(await keys()).toEqual([]);
  });

  it('is among what a loss takes away, and only then', async () => {
    const { session } = await bind();
    fleet.sessions.lost(session, 'broke');
    await fleet.settle();
    await upkeep();
    expect(await keys()).toEqual(['mine']);
    const known = fleet.directory.get('default', 'w1');
    if (known === undefined) throw new Error('no agent');
    const effects = await fleet.coordination.hooks[0]?.effects({ namespace: 'default', known, storeMs: 0 });
    expect(effects).toMatchObject({ deletes: ['state/mine'], summary: expect.stringContaining('1 entries') });
  });

  it('cannot be written from a superseded session, nor with another token', async () => {
    const { token, session, caller } = await bind();
    const other = await fleet.register('w2');
    const writes: Write[] = [{ key: 'mine', operation: text('y') }];
    await fleet.attach('w1', token, { instanceId: 'p2' });
    await expect(commit(writes, { sessionEpoch: session.epoch }, caller)).rejects.toThrow('newer session');
    await expect(
      commit(writes, { sessionEpoch: session.epoch }, { principal: 'x', token: other }),
    ).rejects.toThrow('session');
    await expect(commit(writes, { sessionEpoch: session.epoch })).rejects.toThrow('authorization');
  });
});

describe('WatchState', () => {
  const collect = async (request: object, until: (seen: string[]) => boolean) => {
    const abort = new AbortController();
    const seen: string[] = [];
    let last: WatchStateResponse | undefined;
    const options = { store: fleet.store, storeTime: fleet.storeTime, views: fleet.views };
    for await (const response of watchState(
      create(WatchStateRequestSchema, request),
      abort.signal,
      options,
    )) {
      last = response.cursor === '' ? last : response;
      for (const { type, entry } of response.changes) {
        seen.push(
          `${type === StateChange_Type.REMOVED ? '-' : '+'}${entry?.key}=${entry?.value?.data.value ?? ''}`,
        );
      }
      if (response.synced) seen.push('synced');
      if (until(seen)) abort.abort();
    }
    return { seen, cursor: last?.cursor ?? '' };
  };

  it('sends what is there under a prefix, then what changes, and resumes from a cursor', async () => {
    await put('x/1', 'a');
    await put('y/1', 'b');
    const { seen, cursor } = await collect({ prefix: 'x/' }, (all) => all.includes('synced'));
    expect(seen).toEqual(['+x/1=a', 'synced']);
    await put('x/2', 'c');
    await commit([{ key: 'x/1', operation: { case: 'remove', value: true } }]);
    const resumed = await collect({ prefix: 'x/', cursor }, (all) => all.includes('synced'));
    expect(resumed.seen).toEqual(['+x/2=c', '-x/1=', 'synced']);
  });

  it('never goes back in time where entries change while the snapshot is read', async () => {
    for (let index = 0; index < 150; index += 1) await put(`k${String(index).padStart(3, '0')}`, '0');
    const values = new Map<string, number>();
    const abort = new AbortController();
    const options = { store: fleet.store, storeTime: fleet.storeTime, views: fleet.views };
    let written = 0;
    for await (const { changes, synced } of watchState(
      create(WatchStateRequestSchema, {}),
      abort.signal,
      options,
    )) {
      for (const { entry } of changes) {
        const value = Number(entry?.value?.data.value);
        expect(value).toBeGreaterThanOrEqual(values.get(entry?.key ?? '') ?? 0);
        values.set(entry?.key ?? '', value);
      }
      if (written < 3) {
        written += 1;
        await put('k149', `${written}`);
      }
      if (synced && values.get('k149') === 3) abort.abort();
    }
    expect(values.size).toBe(150);
  });
});

it('ListState goes on from page to page', async () => {
  for (const key of ['a', 'b', 'c']) await put(key, '1');
  const first = await fleet.coordination.state.list(create(ListStateRequestSchema, { pageSize: 2 }));
  expect(first.entries.map(({ key }) => key)).toEqual(['a', 'b']);
  const second = await fleet.coordination.state.list(
    create(ListStateRequestSchema, { pageSize: 2, pageToken: first.nextPageToken }),
  );
  expect(second.entries.map(({ key }) => key)).toEqual(['c']);
  expect(second.nextPageToken).toBe('');
});
