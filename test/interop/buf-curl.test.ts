import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AgentHandle } from '../../src/client/index.ts';
import { ServiceProcess } from '../support/service.ts';
import { MESSAGES, startEcho } from './echo.ts';
import { runTool } from './tools.ts';

describe('buf curl, by reflection and by the protos', () => {
  let service: ServiceProcess;
  let echo: AgentHandle;
  beforeAll(async () => {
    service = await ServiceProcess.start();
    echo = await startEcho(service.grpc, 'b-1');
  });
  afterAll(async () => {
    await echo?.leave();
    await service?.stop();
  });

  const buf = { command: 'node_modules/.bin/buf', args: ['curl'] };
  const send = { message: { type: 'echo', id: 'x-1', data: { json: { deep: [1, 'two'] } } }, agentId: 'b-1' };

  test.each([
    { protocol: 'grpc', port: 'grpc', flags: ['--http2-prior-knowledge'] },
    { protocol: 'connect', port: 'http', flags: ['--schema', 'proto'] },
    { protocol: 'grpcweb', port: 'http', flags: ['--schema', 'proto'] },
  ] as const)('calls an agent over $protocol', async ({ protocol, port, flags }) => {
    const url = `http://${service[port]}/${MESSAGES}/CallAgent`;
    const args = ['--protocol', protocol, ...flags, '--data', JSON.stringify({ send }), url];
    const { stdout, stderr } = await runTool(buf, args);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toMatchObject({ agentId: 'b-1', output: { json: { deep: [1, 'two'] } } });
  });

  test('is told why a call fails', async () => {
    const url = `http://${service.http}/${MESSAGES}/CallAgent`;
    const data = JSON.stringify({ send: { ...send, agentId: 'nobody' } });
    const { code, stderr } = await runTool(buf, ['--schema', 'proto', '--data', data, url]);
    expect(code).not.toBe(0);
    expect(JSON.parse(stderr)).toMatchObject({ code: 'not_found' });
    expect(stderr).toContain('AGENT_NOT_FOUND');
  });
});
