import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  Allocation_State,
  ListAllocationsRequestSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { durationFromMs } from '../../../../src/lib/proto-time.ts';
import { turns } from '../../agent/fleet-fixture.ts';
import { startResources, type TestResources } from '../resource-fixture.ts';

let fleet: TestResources;
beforeEach(async () => {
  fleet = await startResources();
  await fleet.round();
});
afterEach(() => fleet.stop());

const WAIT = durationFromMs(60_000);
const stateOf = async (id: string) => (await fleet.allocation(id))?.state;
const reserved = (agentId = 'w1', resource = 'cpu') =>
  fleet.tasks.scheduling
    .ledger('default')
    .pool.usageOf(agentId)
    ?.resources.find((each) => each.resource === resource)?.reserved;

describe('an allocation', () => {
  it('reserves on an agent until it is given back', async () => {
    await fleet.worker('w1');
    await fleet.round();
    const { allocation } = await fleet.ask({ resources: { cpu: 7n }, holder: 'a build' });
    expect(allocation).toMatchObject({ state: Allocation_State.ACTIVE, agentId: 'w1', namespace: 'default' });
    expect(allocation?.actor).toBe('ann');
    expect(reserved()).toBe(7);
    const id = allocation?.id ?? '';
    await expect(fleet.ask({ resources: { cpu: 4n } })).rejects.toMatchObject({
      reason: ErrorReason.NO_ROOM,
      metadata: { reason: 'NO_ROOM' },
    });
    expect((await fleet.release(id)).allocation?.state).toBe(Allocation_State.RELEASED);
    expect(reserved()).toBe(0);
    await expect(fleet.ask({ resources: { cpu: 10n } })).resolves.toBeDefined();
  });

  it('that no known agent could ever have is refused at once, whatever it would wait', async () => {
    await fleet.worker('w1');
    await fleet.round();
    const tooLarge = fleet.ask({ resources: { cpu: 11n } }, { wait: WAIT });
    await expect(tooLarge).rejects.toMatchObject({
      reason: ErrorReason.UNPLACEABLE,
      metadata: { reason: 'TOO_LARGE' },
    });
    await expect(fleet.ask({ capability: 'fly' })).rejects.toMatchObject({ reason: ErrorReason.UNPLACEABLE });
    await expect(fleet.ask({ budgets: { tokens: 1n } })).rejects.toMatchObject({
      reason: ErrorReason.BUDGET_UNKNOWN,
    });
    expect(fleet.tasks.allocations.count('default')).toBe(0);
  });

  it('waits for room, and gets it the moment that there is some', async () => {
    await fleet.worker('w1');
    await fleet.round();
    const first = await fleet.ask({ resources: { cpu: 10n } }, { allocationId: 'first' });
    expect(first.allocation?.state).toBe(Allocation_State.ACTIVE);
    const second = fleet.ask({}, { allocationId: 'second', wait: WAIT });
    await turns();
    expect(await stateOf('second')).toBe(Allocation_State.WAITING);
    await fleet.release('first');
    expect((await second).allocation?.state).toBe(Allocation_State.ACTIVE);
  });

  it('is not waited for by somebody who has gone away', async () => {
    await fleet.worker('w1');
    await fleet.round();
    await fleet.ask({ resources: { cpu: 10n } }, { allocationId: 'first' });
    const gone = new AbortController();
    const second = fleet.ask({}, { allocationId: 'second', wait: WAIT }, gone.signal);
    const failed = expect(second).rejects.toBeDefined();
    await turns();
    gone.abort();
    await failed;
    expect(await stateOf('second')).toBe(Allocation_State.REFUSED);
    await fleet.release('first');
    await turns();
    expect(reserved()).toBe(0);
    // Whoever asks again for what was refused asks anew.
    expect((await fleet.ask({}, { allocationId: 'second' })).allocation?.state).toBe(Allocation_State.ACTIVE);
  });

  it('is the same one when it is asked for again, and another spec is told apart', async () => {
    await fleet.worker('w1');
    await fleet.round();
    const first = await fleet.ask({}, { allocationId: 'one' });
    const again = await fleet.ask({}, { allocationId: 'one' });
    expect(again.allocation?.revision).toBe(first.allocation?.revision);
    await expect(fleet.ask({ resources: { cpu: 2n } }, { allocationId: 'one' })).rejects.toMatchObject({
      reason: ErrorReason.ALLOCATION_EXISTS,
    });
    const made = await fleet.ask({}, { requestId: 'r1' });
    expect((await fleet.ask({}, { requestId: 'r1' })).allocation?.id).toBe(made.allocation?.id);
    expect(reserved()).toBe(2);
  });

  it('is given back once: a repetition of the request gets the first answer, another one hears when it ended', async () => {
    await fleet.worker('w1');
    await fleet.round();
    await fleet.ask({}, { allocationId: 'one' });
    const first = await fleet.release('one', { requestId: 'r1' });
    const again = await fleet.release('one', { requestId: 'r1' });
    expect(again.allocation?.revision).toBe(first.allocation?.revision);
    await expect(fleet.release('one')).rejects.toMatchObject({
      reason: ErrorReason.ALLOCATION_ENDED,
      message: expect.stringMatching(/ended at 20\d\d-.*\(RELEASED\): ann gave it back/),
      metadata: { state: 'RELEASED' },
    });
    await expect(fleet.renew('one')).rejects.toMatchObject({ reason: ErrorReason.ALLOCATION_ENDED });
    await expect(fleet.release('none')).rejects.toMatchObject({ reason: ErrorReason.ALLOCATION_NOT_FOUND });
  });

  it('ends when its lease does, unless it is renewed; an hour later nothing is left of it', async () => {
    await fleet.worker('w1');
    await fleet.round();
    await fleet.ask({ lease: durationFromMs(20_000) }, { allocationId: 'one' });
    await fleet.pass(15_000);
    await fleet.round();
    const kept = await fleet.renew('one', { lease: durationFromMs(30_000) });
    await fleet.pass(29_000);
    await fleet.round();
    expect(await stateOf('one')).toBe(Allocation_State.ACTIVE);
    await fleet.pass(1_100);
    await fleet.round();
    expect(await stateOf('one')).toBe(Allocation_State.EXPIRED);
    expect(reserved()).toBe(0);
    expect(fleet.events().filter(({ type }) => type === 'allocation.expired')).toHaveLength(1);
    await expect(fleet.renew('one')).rejects.toMatchObject({ metadata: { state: 'EXPIRED' } });
    expect(kept.allocation?.revision).toBeGreaterThan(0n);
    fleet.clock.advance(3_600_000);
    await fleet.round();
    await expect(fleet.allocation('one')).rejects.toMatchObject({ reason: ErrorReason.ALLOCATION_NOT_FOUND });
  });

  it('ends with its lease where the first round found only one that had ended', async () => {
    await fleet.worker('w1');
    await fleet.round();
    await fleet.ask({}, { allocationId: 'before' });
    await fleet.release('before');
    await fleet.round();
    await fleet.pass(1_000);
    await fleet.ask({ lease: durationFromMs(2_000) }, { allocationId: 'one' });
    await fleet.pass(1_000);
    await fleet.round();
    await fleet.pass(1_100);
    await fleet.round();
    expect(await stateOf('one')).toBe(Allocation_State.EXPIRED);
  });

  it('is ended when its agent is deregistered', async () => {
    const { token } = await fleet.worker('w1');
    await fleet.round();
    await fleet.ask({}, { allocationId: 'one' });
    await fleet.agents.deregister(
      {
        $typeName: 'mycosoft.orchestrator.agent.v1.DeregisterAgentRequest',
        namespace: '',
        agentId: 'w1',
        requestId: '',
        reason: '',
      },
      { principal: 'agent', token },
    );
    await fleet.round();
    expect(await stateOf('one')).toBe(Allocation_State.AGENT_LOST);
    expect((await fleet.allocation('one'))?.detail).toBe('its agent was deregistered');
  });

  it('is ended when its agent is lost, by the commit that deals with the loss', async () => {
    const { line } = await fleet.worker('w1');
    await fleet.worker('w2', { gpu: 1n });
    await fleet.round();
    await fleet.ask({}, { allocationId: 'one' });
    line.onPing = undefined;
    for (let second = 0; second < 60 && (await stateOf('one')) === Allocation_State.ACTIVE; second += 1) {
      await fleet.renew('one');
      await fleet.pass(1000);
      await fleet.round();
    }
    expect(await stateOf('one')).toBe(Allocation_State.AGENT_LOST);
    expect(reserved()).toBe(0);
    const handled = fleet.events('w1').find(({ type }) => type === 'agent.loss_handled');
    expect(handled?.message).toContain('1 allocations taken from it');
    expect(fleet.events('w1').filter(({ type }) => type === 'allocation.lost')).toHaveLength(1);
  });

  it('tells what of its budgets is spent: never less than before, and not more than was granted', async () => {
    await fleet.worker('w1');
    await fleet.setQuota({ budgets: [{ name: 'tokens', limit: 100n }] });
    await fleet.round();
    const asked = { budgets: { tokens: 60n } };
    await fleet.ask(asked, { allocationId: 'one' });
    expect(fleet.quota('')?.budgets[0]).toMatchObject({ spent: 0n, reserved: 60n });
    await fleet.renew('one', { spent: { tokens: 20n } });
    for (const spent of [{ tokens: 19n }, { tokens: 61n }, { calls: 1n }]) {
      await expect(fleet.renew('one', { spent })).rejects.toMatchObject({
        reason: ErrorReason.INVALID_FIELDS,
      });
    }
    await expect(fleet.ask({ budgets: { tokens: 41n } })).rejects.toMatchObject({
      reason: ErrorReason.BUDGET_SPENT,
      metadata: { reason: 'BUDGET' },
    });
    await fleet.release('one', { spent: { tokens: 25n } });
    // What was not spent is free at once; what was spent stays taken, before and after it is taken over.
    expect(fleet.quota('')?.budgets[0]).toMatchObject({ spent: 0n, reserved: 25n });
    await fleet.round();
    expect(fleet.quota('')?.budgets[0]).toMatchObject({ spent: 25n, reserved: 0n });
    await fleet.round();
    expect(fleet.quota('')?.budgets[0]).toMatchObject({ spent: 25n, reserved: 0n });
  });

  it('is listed by id, agent, owner and state, page by page', async () => {
    await fleet.worker('w1');
    await fleet.round();
    for (const id of ['c', 'a', 'b']) await fleet.ask({ labels: { owner: id } }, { allocationId: id });
    await fleet.release('b');
    const list = (request: object) =>
      fleet.resources.allocations.list(create(ListAllocationsRequestSchema, request));
    const ids = (request: object) => list(request).allocations.map(({ id }) => id);
    expect(ids({})).toEqual(['a', 'c']);
    expect(ids({ owner: 'c' })).toEqual(['c']);
    expect(ids({ owner: '' })).toEqual([]);
    expect(ids({ agentId: 'w2' })).toEqual([]);
    expect(ids({ states: [Allocation_State.RELEASED] })).toEqual(['b']);
    const first = list({ pageSize: 1 });
    expect(first.allocations.map(({ id }) => id)).toEqual(['a']);
    const second = list({ pageSize: 1, pageToken: first.nextPageToken });
    expect(second.allocations.map(({ id }) => id)).toEqual(['c']);
    expect(second.nextPageToken).toBe('');
    expect(() => list({ agentId: 'w1', pageToken: first.nextPageToken })).toThrow('page_token');
  });
});
