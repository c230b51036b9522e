import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Clients, connectClients } from '../support/clients.ts';
import { ServiceProcess } from '../support/service.ts';
import { until } from '../support/until.ts';
import { AgentProcess } from './agent-process.ts';
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

  test('registers an agent with Connect JSON and reads it back', async () => {
    const post = async (method: string, body: unknown) => {
      const url = `http://${service.http}/mycosoft.orchestrator.agent.v1.AgentService/${method}`;
      const header = 'Content-Type: application/json';
      const { stdout } = await runTool(curl, ['-s', '-H', header, '--data', JSON.stringify(body), url]);
      return JSON.parse(stdout);
    };
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
      agent.signal('SIGTERM');
      expect(await agent.exited).toBe(0);
      await watch.seen('c-2', 'LEFT');
    } finally {
      await agent.end();
      await watch.close();
    }
  });
});
