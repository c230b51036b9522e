import type { MessageInitShape } from '@bufbuild/protobuf';
import type { DurationSchema } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DeliveryUpdate_State as State } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { toPayload } from '../../src/client/payloads.ts';
import { type FakeSession, FakeSessionServer } from '../support/fake-session-server.ts';
import { AgentProcess } from './agent-process.ts';
import { suiteWith, type Tool } from './tools.ts';

type Duration = MessageInitShape<typeof DurationSchema>;

/** The pair example of a language, at a service that delivers again, takes back and breaks off. */
function redeliveryToA(tool: Tool): void {
  let server: FakeSessionServer;
  let agent: AgentProcess;
  let session: FakeSession;

  beforeEach(async () => {
    server = await FakeSessionServer.start({ holdCalls: true });
    agent = new AgentProcess(tool, [server.address, 'a-1', 'never-answers']);
    session = await server.session();
    const hello = await session.next('hello');
    expect(hello.features).toEqual(['messages/1']);
    expect(hello.held).toEqual([]);
    session.welcome(1n);
    await agent.line(/^connected epoch=1$/);
  });
  afterEach(async () => {
    await agent.end();
    server.stop();
  });

  function deliver(
    deliveryId: string,
    attempt: bigint,
    type: string,
    content: unknown,
    more: { wantsAnswer?: boolean; timeLeft?: Duration } = {},
  ): void {
    const data = toPayload(content);
    const message = { id: deliveryId, source: 'somebody', type, ...(data === undefined ? {} : { data }) };
    const work = { deliveryId, attempt };
    session.send({ case: 'delivery', value: { work, ...more, item: { case: 'message', value: message } } });
  }
  async function update() {
    const { frameId, frame } = await session.nextFrame('deliveryUpdate');
    if (frame.case !== 'deliveryUpdate') throw new Error('another frame');
    return { frameId, ...frame.value };
  }
  const heard = () => agent.lines.filter(({ text }) => text === 'somebody says hi').length;

  test('carries out once what comes twice, and answers each attempt', async () => {
    deliver('d-1', 3n, 'greeting', 'hi');
    expect(await update()).toMatchObject({
      work: { deliveryId: 'd-1', attempt: 3n },
      state: State.SUCCEEDED,
    });
    deliver('d-1', 4n, 'greeting', 'hi');
    expect(await update()).toMatchObject({
      work: { deliveryId: 'd-1', attempt: 4n },
      state: State.SUCCEEDED,
    });
    deliver('d-2', 5n, 'greeting', 'bye');
    expect(await update()).toMatchObject({ work: { deliveryId: 'd-2', attempt: 5n } });
    await agent.line(/^somebody says bye$/);
    expect(heard()).toBe(1);
  });

  test('declines what it does not know, for good', async () => {
    deliver('d-1', 1n, 'polish', 'shoes');
    const { state, error, retryable } = await update();
    expect({ state, retryable }).toEqual({ state: State.DECLINED, retryable: false });
    expect(error).toContain('polish');
  });

  test('says again what the service may not have heard, in the next session; not what it took back', async () => {
    deliver('d-1', 1n, 'greeting', 'hi');
    const { frameId } = await update();
    session.stored(frameId);
    for (const id of ['d-2', 'd-3']) {
      deliver(id, 1n, 'greeting', 'hi');
      await update();
    }
    session.send({ case: 'goAway', value: { reason: 8, reconnectAfter: { nanos: 1e6 } } });
    session.end();
    session = await server.session();
    const { held } = await session.next('hello');
    expect(held.map(({ deliveryId }) => deliveryId).sort()).toEqual(['d-2', 'd-3']);
    const revoked = [{ deliveryId: 'd-2', attempt: 1n }];
    session.send({ case: 'welcome', value: { epoch: 2n, lease: { seconds: 30n }, revoked } });
    expect(await update()).toMatchObject({
      work: { deliveryId: 'd-3', attempt: 1n },
      state: State.SUCCEEDED,
    });
    deliver('d-4', 1n, 'greeting', 'bye');
    expect(await update(), 'and nothing of d-1 and d-2 before').toMatchObject({
      work: { deliveryId: 'd-4' },
    });
    await agent.line(/^somebody says bye$/);
    expect(heard()).toBe(3);
  });

  test('says again what is refused for now', async () => {
    deliver('d-1', 1n, 'greeting', 'hi');
    const { frameId } = await update();
    const retryAfter = { nanos: 200e6 };
    session.send({ case: 'result', value: { frameId, code: 14, reason: 'STORE_UNAVAILABLE', retryAfter } });
    expect(await update()).toMatchObject({ frameId, work: { deliveryId: 'd-1' }, state: State.SUCCEEDED });
  });

  test('accepts what takes longer, goes on with it when it comes again, and answers the newest attempt', async () => {
    const call = { wantsAnswer: true, timeLeft: { seconds: 1n, nanos: 5e8 } };
    deliver('d-1', 1n, 'ask', { hops: 1 }, call); // waits for its peer, until its time is over
    expect(await update()).toMatchObject({ work: { attempt: 1n }, state: State.ACCEPTED });
    deliver('d-1', 2n, 'ask', { hops: 1 }, call);
    expect(await update()).toMatchObject({ work: { attempt: 2n }, state: State.ACCEPTED });
    const outcome = await update();
    expect(outcome).toMatchObject({ work: { attempt: 2n }, state: State.FAILED });
    expect(outcome.error).toMatch(/deadline/i);
  });

  test('an attempt that is taken back has no outcome', async () => {
    const call = { wantsAnswer: true, timeLeft: { seconds: 1n } };
    deliver('d-1', 1n, 'ask', { hops: 1 }, call);
    session.send({
      case: 'revoke',
      value: { work: { deliveryId: 'd-1', attempt: 1n }, reason: 'cancelled' },
    });
    deliver('d-2', 1n, 'ask', { hops: 1 }, call);
    expect(await update()).toMatchObject({ work: { deliveryId: 'd-2' }, state: State.ACCEPTED });
    expect(await update()).toMatchObject({ work: { deliveryId: 'd-2' }, state: State.FAILED });
  });

  test('messages of one key are handled in their order, calls beside them', async () => {
    deliver('d-1', 1n, 'ask', { hops: 1 }, { timeLeft: { seconds: 1n } });
    deliver('d-2', 1n, 'greeting', 'hi');
    deliver('d-3', 1n, 'ask', { hops: 0 }, { wantsAnswer: true });
    const outcomes: string[] = [];
    while (outcomes.length < 3) {
      const { state, work } = await update();
      if (state !== State.ACCEPTED) outcomes.push(work?.deliveryId ?? '');
    }
    expect(outcomes).toEqual(['d-3', 'd-1', 'd-2']);
  });
}

suiteWith('python-pair', 'a Python agent', (tool) => redeliveryToA(tool));
suiteWith('go-pair', 'a Go agent', (tool) => redeliveryToA(tool));
