import { dirname } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ServiceProcess } from '../support/service.ts';
import { runTool, suiteWith } from './tools.ts';

suiteWith('python-agent', 'the client that grpcio generates', ({ command, args: [, agent = ''] }) => {
  let service: ServiceProcess;
  beforeAll(async () => {
    service = await ServiceProcess.start();
  });
  afterAll(() => service?.stop());

  test('reads, writes, compares and watches the shared state, and takes locks by turns', async () => {
    const python = {
      command,
      args: ['test/interop/state_and_locks.py'],
      env: { PYTHONPATH: dirname(agent) },
    };
    const { stdout, stderr } = await runTool(python, [service.grpc]);
    expect(stderr).toBe('');
    expect(stdout.trim().split('\n')).toEqual(['state: ok', 'locks: ok']);
  });
});
