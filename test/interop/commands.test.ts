import { afterEach, beforeEach, expect, test } from 'vitest';
import { DeliveryUpdate_State as State } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { type FakeSession, FakeSessionServer } from '../support/fake-session-server.ts';
import { AgentProcess } from './agent-process.ts';
import { suiteWith, type Tool } from './tools.ts';

/** The example of a language, given orders by a service that does nothing else. */
function ordersToAn(tool: Tool): void {
  let server: FakeSessionServer;
  let agent: AgentProcess;
  let session: FakeSession;

  beforeEach(async () => {
    server = await FakeSessionServer.start();
    agent = new AgentProcess(tool, [server.address, 'a-1']);
    session = await server.session();
    await session.next('hello');
    session.welcome(1n);
    await agent.line(/^connected/);
  });
  afterEach(async () => {
    await agent.end();
    server.stop();
  });

  async function order(type: string) {
    const work = { deliveryId: `d-${type}`, attempt: 3n };
    session.send({ case: 'delivery', value: { work, item: { case: 'command', value: { type } } } });
    const update = await session.next('deliveryUpdate');
    expect(update.work).toMatchObject(work);
    return update.state;
  }
  async function beat() {
    session.send({ case: 'ping', value: { echo: 1n } });
    const { report } = await session.next('heartbeat');
    return { activity: report?.activity, pages: report?.progress[0]?.done ?? 0n };
  }

  test('drained it works no more, resumed it works again', async () => {
    expect(await order('drain')).toBe(State.SUCCEEDED);
    await new Promise((resolve) => setTimeout(resolve, 200)); // the page under way
    const drained = await beat();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await beat()).toEqual(drained);
    expect(drained.activity).not.toBe('summarizing');
    expect(await order('resume')).toBe(State.SUCCEEDED);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect((await beat()).pages).toBeGreaterThan(drained.pages);
  });

  test('told to stop, it answers, says goodbye and ends', async () => {
    expect(await order('stop')).toBe(State.SUCCEEDED);
    await session.next('leave');
    session.end();
    expect(await agent.exited).toBe(0);
  });

  test('the service gone, it stops its work when the lease has passed', async () => {
    session.send({ case: 'ping', value: { echo: 1n, lease: { seconds: 2n } } });
    await session.next('heartbeat');
    server.stop();
    await agent.line(/^lease expired: work stopped$/, 1, 6_000);
  });

  test('an order that it does not know is declined', async () => {
    expect(await order('polish')).toBe(State.DECLINED);
  });
}

suiteWith('python-agent', 'a Python agent (grpcio)', (tool) => ordersToAn(tool));
suiteWith('go-agent', 'a Go agent (grpc-go)', (tool) => ordersToAn(tool));
