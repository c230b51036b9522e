import { afterAll, beforeAll, expect, test } from 'vitest';
import { Drain_State } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { type Clients, connectClients } from '../support/clients.ts';
import { ServiceProcess } from '../support/service.ts';
import { until } from '../support/until.ts';
import { AgentProcess } from './agent-process.ts';
import { MESSAGES, startEcho } from './echo.ts';
import { FleetWatch } from './fleet-watch.ts';
import { runTool, suiteWith } from './tools.ts';

suiteWith('curl', 'curl on the HTTP port', (curl) => {
  let service: ServiceProcess;
  let clients: Clients;
  beforeAll(async () => {
    service = await ServiceProcess.start({ env: { ORCHESTRATOR_SESSION_PING_INTERVAL: '500ms' } });
    clients = connectClients(service.grpc);
  });
  afterAll(async () => {
    clients?.close();
    await service?.stop();
  });

  async function call(service: string, method: string, body: unknown) {
    const url = `http://${http()}/${service}/${method}`;
    const header = 'Content-Type: application/json';
    const { stdout } = await runTool(curl, ['-s', '-H', header, '--data', JSON.stringify(body), url]);
    return JSON.parse(stdout);
  }
  const http = () => service.http;

  test('registers an agent with Connect JSON and reads it back', async () => {
    const post = (method: string, body: unknown) =>
      call('mycosoft.orchestrator.agent.v1.AgentService', method, body);
    const { agent } = await post('RegisterAgent', { agentId: 'c-1', spec: { kind: 'test' } });
    expect(agent).toMatchObject({ id: 'c-1', phase: 'PHASE_REGISTERED', liveness: 'LIVENESS_NEVER_SEEN' });
    const read = await post('GetAgent', { agentId: 'c-1', minRevision: agent.revision });
    expect(read.agent).toMatchObject({ id: 'c-1', uid: agent.uid, spec: { kind: 'test' } });
    expect(await post('GetAgent', { agentId: 'nobody' })).toMatchObject({ code: 'not_found' });
  });

  test('alone is an agent by long poll: attached, measured, and gone with a goodbye', async () => {
    const watch = new FleetWatch(clients);
    const script = { command: 'sh', args: ['examples/curl/agent.sh'] };
    const agent = new AgentProcess(script, [`http://${service.http}`, 'c-2']);
    try {
      await agent.line(/^attached/);
      await watch.seen('c-2', 'CONNECTED');
      await agent.line(/^answered ping/, 3);
      const get = async () => (await clients.agents.getAgent({ agentId: 'c-2' })).agent;
      const seen = await until(get, (one) => (one?.observation?.roundTrip?.samples ?? 0) >= 2);
      expect(seen?.observation?.health?.score).toBe(1);
      const asked = {
        send: { message: { id: 'm-1', type: 'echo', data: { text: 'say "hi"\n{}' } }, agentId: 'c-2' },
      };
      expect(await call(MESSAGES, 'CallAgent', asked)).toMatchObject({
        output: { text: 'say "hi"\n{}' },
        agentId: 'c-2',
      });
      await clients.agents.drainAgent({ agentId: 'c-2', reason: 'a test' });
      await until(get, (one) => one?.drain?.state === Drain_State.DECLINED, {
        what: 'the drain to be declined',
      });
      agent.signal('SIGTERM');
      expect(await agent.exited).toBe(0);
      await watch.seen('c-2', 'LEFT');
    } finally {
      await agent.end();
      await watch.close();
    }
  });

  test('sends, calls, subscribes and lists with Connect JSON', async () => {
    const echo = await startEcho(service.grpc, 'c-3');
    try {
      const post = (method: string, body: unknown) => call(MESSAGES, method, body);
      const message = (id: string) => ({ id, type: 'echo', data: { text: 'hello' } });
      const called = await post('CallAgent', { send: { message: message('1'), capability: 'echo' } });
      expect(called).toMatchObject({ output: { text: 'hello' }, agentId: 'c-3' });
      const { subscription } = await post('CreateSubscription', {
        subscription: { agentId: 'c-3', topic: 'jobs.*' },
      });
      expect(subscription).toMatchObject({ namespace: 'default', agentId: 'c-3', topic: 'jobs.*' });
      const sent = await post('SendMessage', { send: { message: message('2'), topic: 'jobs.done' } });
      expect(sent).toMatchObject({ messageId: '2', receivers: 1, agentId: 'c-3' });
      const again = await post('SendMessage', { send: { message: message('2'), topic: 'jobs.done' } });
      expect(again).toEqual(sent);
      const late = await post('CallAgent', { send: { message: message('3'), agentId: 'c-1' } });
      expect(late).toMatchObject({ code: 'unavailable' }); // registered, and never there
      expect(JSON.stringify(late.details)).toContain('RECEIVER_GONE');
      const bad = await post('SendMessage', { send: { message: message('4'), topic: 'no topic!' } });
      expect(bad).toMatchObject({ code: 'invalid_argument' });
    } finally {
      await echo.leave();
    }
  });
});
