import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AgentSpecSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  DeregisterAgentRequestSchema,
  RegisterAgentRequestSchema,
  UpdateAgentRequestSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { AgentRecordSchema } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { agentKey, agentOf, copyRecord, encodeRecord } from '../../../src/domain/agent/record.ts';
import { rejection, startFleet, type TestFleet } from './fleet-fixture.ts';

const caller = { principal: 'operator', token: undefined };
const other = { principal: 'somebody else', token: undefined };

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
const revisionOf = (agentId: string) => fleet.reader.get('default', agentId).revision;

describe('registering', () => {
  it('returns the agent with its revision and a token that attaches', async () => {
    const { agent, agentToken } = await register({ agentId: 'a1', spec: { kind: 'worker' } });
    expect(agent).toMatchObject({ namespace: 'default', id: 'a1', revision: 1n });
    await fleet.attach('a1', agentToken);
  });

  it('is refused in one namespace more than there may be, and goes on in those that are there', async () => {
    const limited = await startFleet({ flags: { 'limits.max-namespaces': '2' } });
    const registerIn = (namespace: string) =>
      limited.agents.register(create(RegisterAgentRequestSchema, { namespace }), caller);
    await registerIn('one');
    await registerIn('two');
    expect(await rejection(registerIn('three'))).toMatchObject({ reason: ErrorReason.LIMIT_REACHED });
    await registerIn('two');
    await limited.stop();
  });

  it('makes an id from the kind where none is given', async () => {
    const ids = [await register({ spec: { kind: 'worker' } }), await register({})].map(
      ({ agent }) => agent?.id,
    );
    expect(ids[0]).toMatch(/^worker-[0-9a-f]{8}$/);
    expect(ids[1]).toMatch(/^agent-[0-9a-f]{8}$/);
  });

  it('repeated with its request id gives the same agent and a token of its own; both tokens are good', async () => {
    const request = { spec: { kind: 'worker' }, requestId: 'r1' };
    const first = await register(request);
    const again = await register(request);
    expect(again.agent).toEqual(first.agent);
    expect(again.agentToken).not.toBe(first.agentToken);
    expect(fleet.events().filter(({ type }) => type === 'agent.registered')).toHaveLength(1);
    for (const { agentToken } of [first, again]) await fleet.attach(first.agent?.id ?? '', agentToken);
  });

  it('repeated with its maps in another order, as many encoders write them, is the same request', async () => {
    const first = {
      agentId: 'a1',
      requestId: 'r1',
      spec: { labels: { a: '1', b: '2' }, capacity: { x: 1n, y: 2n } },
    };
    const again = { ...first, spec: { labels: { b: '2', a: '1' }, capacity: { y: 2n, x: 1n } } };
    expect((await register(again)).agent?.uid).toBe((await register(first)).agent?.uid);
    const other = { ...first, spec: { ...first.spec, labels: { a: '2', b: '1' } } };
    expect(await rejection(register(other))).toMatchObject({ reason: ErrorReason.REQUEST_ID_REUSED });
  });

  it('at once with one request id and no agent id makes one agent', async () => {
    const answers = await Promise.all(Array.from({ length: 4 }, () => register({ requestId: 'r1' })));
    expect(new Set(answers.map(({ agent }) => agent?.id)).size).toBe(1);
    expect(fleet.directory.count('default')).toBe(1);
  });

  it('is one registration although the answer of the store was lost', async () => {
    fleet.store.faults.loseAnswers = 1;
    const request = { agentId: 'a1', requestId: 'r1' };
    expect(await rejection(register(request))).toMatchObject({
      name: 'StoreUnavailableError',
      outcome: 'unknown',
    });
    const { agentToken } = await register(request);
    await fleet.attach('a1', agentToken);
    expect(fleet.events('a1').map(({ type }) => type)).toEqual(['agent.registered', 'agent.connected']);
  });

  it('refuses a request id with another body, but not that of another principal or method', async () => {
    await register({ agentId: 'a1', requestId: 'r1' });
    expect(await rejection(register({ agentId: 'a2', requestId: 'r1' }))).toMatchObject({
      reason: ErrorReason.REQUEST_ID_REUSED,
    });
    await register({ agentId: 'a2', requestId: 'r1' }, other);
    await update({ agentId: 'a1', requestId: 'r1', spec: { displayName: 'x' } });
    expect(fleet.directory.count('default')).toBe(2);
  });

  it('stops at the limit of agents, which registering again does not touch', async () => {
    for (let index = 0; index < 5; index += 1) await register({ agentId: `a${index}` });
    expect(await rejection(register({ agentId: 'a9' }))).toMatchObject({ reason: ErrorReason.LIMIT_REACHED });
    await register({ agentId: 'a0' });
    await register({ agentId: 'a9', namespace: 'another' });
    await deregister({ agentId: 'a0' });
    await register({ agentId: 'a9' });
  });

  it('knows the token that another replica gave out, though this one has not heard of it yet', async () => {
    await register({ agentId: 'a1' });
    fleet.store.faults.lagging = true;
    const { agentToken } = await register({ agentId: 'a1', takeover: true });
    const again = await register({ agentId: 'a1' }, { principal: 'a1', token: agentToken });
    expect(again.agentToken).toBe(agentToken);
  });

  it('does not take an agent for registered that was removed elsewhere meanwhile', async () => {
    const { agentToken } = await register({ agentId: 'a1' });
    fleet.store.faults.lagging = true;
    await deregister({ agentId: 'a1' });
    await register({ agentId: 'a1' }, { principal: 'a1', token: agentToken });
    expect(fleet.record('a1')).toBeDefined();
  });

  it('anew begins above the epochs of the one before, though this replica lags behind', async () => {
    const { agentToken } = await register({ agentId: 'a1' });
    fleet.store.faults.lagging = true;
    let highest = 0n;
    for (let index = 0; index < 5; index += 1) highest = (await fleet.attach('a1', agentToken)).session.epoch;
    await deregister({ agentId: 'a1' });
    const { agentToken: next } = await register({ agentId: 'a1' });
    expect((await fleet.attach('a1', next)).session.epoch).toBeGreaterThan(highest);
  });
});

describe('updating', () => {
  beforeEach(async () => void (await register({ agentId: 'a1', spec: { kind: 'worker', version: '1' } })));

  it('changes what the mask names, and only once for a repeated request', async () => {
    const request = { agentId: 'a1', requestId: 'r1', spec: { displayName: 'first', version: '9' } };
    const first = await update(request);
    await update({ agentId: 'a1', spec: { displayName: 'second' } });
    expect(await update(request)).toEqual(first);
    expect(first.agent).toMatchObject({
      revision: 2n,
      spec: { displayName: 'first', version: '1', kind: 'worker' },
    });
    expect(fleet.record('a1')?.agent?.spec?.displayName).toBe('second');
  });

  it.each([
    [0n, ErrorReason.REVISION_MISMATCH],
    [1n, undefined],
    [2n, ErrorReason.REVISION_MISMATCH],
  ])('with expected revision %d of an agent at 1 ends with reason %s', async (expectedRevision, reason) => {
    const outcome = await update({ agentId: 'a1', expectedRevision, spec: { displayName: 'x' } }).catch(
      (error: unknown) => error,
    );
    if (reason === undefined) expect(outcome).toMatchObject({ agent: { revision: 2n } });
    else expect(outcome).toMatchObject({ reason, metadata: { current_revision: '1' } });
  });

  it('loses none of eight updates that come at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        update({ agentId: 'a1', spec: { displayName: `name ${index}` } }),
      ),
    );
    const revisions = answers.map(({ agent }) => Number(agent?.revision)).sort((x, y) => x - y);
    expect(revisions).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
    expect(fleet.events('a1').filter(({ type }) => type === 'agent.updated')).toHaveLength(8);
    const last = answers.find(({ agent }) => agent?.revision === 9n);
    expect(fleet.record('a1')?.agent?.spec?.displayName).toBe(last?.agent?.spec?.displayName);
  });

  it('gives up with CONTENTION when somebody else is always first, and changes nothing', async () => {
    let index = 0;
    fleet.store.faults.before = async (commit) => {
      if (commit.request === undefined) return;
      index += 1;
      // As another replica would: not through this one's registry, where changes of one agent take turns.
      const record = copyRecord(fleet.record('a1') ?? create(AgentRecordSchema));
      agentOf(record).spec = create(AgentSpecSchema, { displayName: `other ${index}` });
      await fleet.store.commit({
        namespace: 'default',
        puts: [{ key: agentKey('a1'), value: encodeRecord(record) }],
      });
    };
    const outcome = await rejection(
      update({ agentId: 'a1', requestId: 'r1', spec: { displayName: 'mine' } }),
    );
    expect(outcome).toMatchObject({ reason: ErrorReason.CONTENTION, retryAfterMs: 500 });
    expect(fleet.record('a1')?.agent?.spec?.displayName).toBe(`other ${index}`);
  });

  it('refuses what would break the rules of the spec, and an agent that is not there', async () => {
    expect(await rejection(update({ agentId: 'a1', spec: { displayName: 'x'.repeat(300) } }))).toMatchObject({
      reason: ErrorReason.INVALID_FIELDS,
    });
    expect(await rejection(update({ agentId: 'a2' }))).toMatchObject({ reason: ErrorReason.AGENT_NOT_FOUND });
    expect(revisionOf('a1')).toBe(1n);
  });
});

describe('deregistering', () => {
  it('returns the last state, once for a repeated request, also when the agent is there again', async () => {
    await register({ agentId: 'a1', spec: { kind: 'worker' } });
    const first = await deregister({ agentId: 'a1', requestId: 'r1' });
    expect(first).toMatchObject({
      revision: 2n,
      agent: { id: 'a1', revision: 1n, spec: { kind: 'worker' } },
    });
    await register({ agentId: 'a1' });
    expect(await deregister({ agentId: 'a1', requestId: 'r1' })).toEqual(first);
    expect(fleet.record('a1')).toBeDefined();
    expect(await rejection(deregister({ agentId: 'a1', expectedRevision: 1n }))).toMatchObject({
      reason: ErrorReason.REVISION_MISMATCH,
    });
    await deregister({ agentId: 'a1', expectedRevision: 3n });
    expect(await rejection(deregister({ agentId: 'a1' }))).toMatchObject({
      reason: ErrorReason.AGENT_NOT_FOUND,
    });
  });
});

describe('events', () => {
  it('name an agent as the one who did it only when its token proves that', async () => {
    const { agentToken } = await register({ agentId: 'a1' });
    const as = (token: string) => ({ principal: 'agent:default/a1', token });
    const spec = { displayName: 'x' };
    await update({ agentId: 'a1', spec }, as(agentToken) as never);
    await update({ agentId: 'a1', spec }, as(`${agentToken.slice(0, -4)}AAAA`) as never);
    const actors = fleet.events().filter(({ type }) => type === 'agent.updated');
    expect(actors.map(({ actor }) => actor)).toEqual(['agent:default/a1', 'anonymous']);
  });
});
