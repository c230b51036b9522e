import { afterAll, beforeAll, expect, test } from 'vitest';
import { ServiceProcess } from '../support/service.ts';
import { startEcho } from './echo.ts';
import { runTool, suiteWith } from './tools.ts';

suiteWith('grpcurl', 'grpcurl, by reflection alone', (grpcurl) => {
  let service: ServiceProcess;
  beforeAll(async () => {
    service = await ServiceProcess.start();
  });
  afterAll(() => service?.stop());

  const call = (...args: string[]) => runTool(grpcurl, ['-plaintext', ...args]);
  const invoke = (method: string, body: unknown, ...flags: string[]) =>
    call(...flags, '-d', JSON.stringify(body), service.grpc, `mycosoft.orchestrator.${method}`);

  test('lists the services', async () => {
    const { stdout } = await call(service.grpc, 'list');
    expect(stdout.split('\n')).toEqual(
      expect.arrayContaining([
        'grpc.health.v1.Health',
        'grpc.reflection.v1.ServerReflection',
        'mycosoft.orchestrator.agent.v1.AgentService',
        'mycosoft.orchestrator.agent.v1.SessionService',
        'mycosoft.orchestrator.coordination.v1.LockService',
        'mycosoft.orchestrator.coordination.v1.MessageService',
        'mycosoft.orchestrator.coordination.v1.StateService',
        'mycosoft.orchestrator.monitoring.v1.MonitoringService',
      ]),
    );
  });

  test('describes every service and the messages behind it, imports included', async () => {
    const { stdout } = await call(service.grpc, 'list');
    for (const name of stdout.trim().split('\n')) {
      const { code, stderr } = await call(service.grpc, 'describe', name);
      expect(stderr).toBe('');
      expect(code).toBe(0);
    }
    const { stdout: agent } = await call(service.grpc, 'describe', 'mycosoft.orchestrator.agent.v1.Agent');
    expect(agent).toContain('google.protobuf.Timestamp create_time');
  });

  test('registers an agent and reads it back', async () => {
    const spec = { kind: 'test', labels: { 'topology.kubernetes.io/zone': 'a' }, capacity: { slots: '4' } };
    const registered = await invoke('agent.v1.AgentService/RegisterAgent', { agentId: 'g-1', spec });
    expect(registered.stderr).toBe('');
    const { agent, agentToken } = JSON.parse(registered.stdout);
    expect(agent).toMatchObject({ namespace: 'default', id: 'g-1', liveness: 'LIVENESS_NEVER_SEEN' });
    expect(agentToken.length).toBeGreaterThan(20);
    const read = await invoke('agent.v1.AgentService/GetAgent', {
      agentId: 'g-1',
      minRevision: agent.revision,
    });
    expect(JSON.parse(read.stdout).agent).toMatchObject({ id: 'g-1', uid: agent.uid, spec });
  });

  test('shows errors with their details: every violated field', async () => {
    const { code, stderr } = await invoke('agent.v1.AgentService/RegisterAgent', {
      agentId: '!',
      spec: { labels: { 'a b': 'x' } },
    });
    expect(code).not.toBe(0);
    expect(stderr).toContain('InvalidArgument');
    expect(stderr).toContain('google.rpc.BadRequest');
    expect(stderr).toMatch(/agent_id/);
    expect(stderr).toMatch(/labels/);
  });

  test('is an agent itself, hello and leave in one go and half-closed before welcome came', async () => {
    const { stdout } = await invoke('agent.v1.AgentService/RegisterAgent', { agentId: 'g-2', spec: {} });
    const { agentToken } = JSON.parse(stdout);
    const hello = { hello: { instanceId: 'grpcurl' } };
    const leave = { frameId: 'bye', leave: { reason: 'done' } };
    const session = await call(
      '-H',
      `authorization: Bearer ${agentToken}`,
      '-d',
      `${JSON.stringify(hello)}\n${JSON.stringify(leave)}`,
      service.grpc,
      'mycosoft.orchestrator.agent.v1.SessionService/OpenSession',
    );
    expect(session.stdout).toContain('"welcome"');
    expect(session.stdout).toContain('"frameId": "bye"');
    const read = await invoke('agent.v1.AgentService/GetAgent', { agentId: 'g-2' });
    expect(JSON.parse(read.stdout).agent.liveness).toBe('LIVENESS_LEFT');
  });

  test('sends to an agent, sees what waits for it, and calls another', async () => {
    const echo = await startEcho(service.grpc, 'g-3');
    try {
      const method = (name: string) => `coordination.v1.MessageService/${name}`;
      const message = (id: string) => ({ id, source: 'shell', type: 'echo', data: { json: { n: 1 } } });
      await invoke('agent.v1.AgentService/RegisterAgent', { agentId: 'g-4', spec: {} });
      const sent = await invoke(method('SendMessage'), { send: { message: message('1'), agentId: 'g-4' } });
      expect(JSON.parse(sent.stdout)).toMatchObject({ messageId: '1', receivers: 1, agentId: 'g-4' });
      const waiting = await invoke(method('ListDeliveries'), { agentId: 'g-4' });
      expect(JSON.parse(waiting.stdout).deliveries).toMatchObject([
        { agentId: 'g-4', message: { id: '1', source: 'shell', data: { json: { n: 1 } } } },
      ]);
      const called = await invoke(method('CallAgent'), { send: { message: message('2'), agentId: 'g-3' } });
      expect(called.stderr).toBe('');
      expect(JSON.parse(called.stdout)).toMatchObject({ output: { json: { n: 1 } }, agentId: 'g-3' });
      const gone = await invoke(method('CallAgent'), { send: { message: message('3'), agentId: 'g-4' } });
      expect(gone.stderr).toContain('Unavailable');
      expect(gone.stderr).toContain('RECEIVER_GONE');
    } finally {
      await echo.leave();
    }
  });

  test('asks for health', async () => {
    const { stdout } = await call(service.grpc, 'grpc.health.v1.Health/Check');
    expect(JSON.parse(stdout)).toEqual({ status: 'SERVING' });
  });
});
