import { spawn } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Clients, connectClients } from '../support/clients.ts';
import { ServiceProcess } from '../support/service.ts';
import { until } from '../support/until.ts';
import { suiteWith } from './tools.ts';

const delayMs = 400;

suiteWith('strace', 'promise 1 on LMDB, with the sync delayed by strace', (strace) => {
  let service: ServiceProcess;
  let clients: Clients;
  beforeAll(async () => {
    service = await ServiceProcess.start({ env: { ORCHESTRATOR_SESSION_FLUSH_INTERVAL: '30s' } });
    clients = connectClients(service.grpc);
  });
  afterAll(async () => {
    clients?.close();
    await service?.stop();
  });

  async function register(agentId: string): Promise<number> {
    const began = performance.now();
    await clients.agents.registerAgent({ agentId, spec: { kind: 'test' } });
    return performance.now() - began;
  }

  test('no answer to RegisterAgent leaves before its sync', async () => {
    const quick: number[] = [];
    for (let i = 0; i < 10; i++) quick.push(await register(`quick-${i}`));
    expect(quick.sort((a, b) => a - b)[5], 'median without a delay').toBeLessThan(delayMs / 2);

    const calls = 'fdatasync,fsync,msync,sync_file_range';
    const inject = `inject=${calls}:delay_enter=${delayMs * 1_000}`;
    const trace = spawn(
      strace.command,
      ['-f', '-e', `trace=${calls}`, '-e', inject, '-p', `${service.pid}`],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    let heard = '';
    trace.stderr.on('data', (chunk) => {
      heard += chunk;
    });
    const traced = new Promise((resolve) => trace.once('close', resolve));
    try {
      await until(
        () => heard,
        (text) => text.includes('attached'),
        { what: 'strace to attach' },
      );
      const alone = await register('slow-alone');
      const together = await Promise.all(Array.from({ length: 20 }, (_, i) => register(`slow-${i}`)));
      expect(alone).toBeGreaterThanOrEqual(delayMs);
      expect(Math.min(...together)).toBeGreaterThanOrEqual(delayMs);
      expect(heard, 'a sync was delayed').toMatch(/sync\(.*DELAYED/);
    } finally {
      trace.kill('SIGINT');
      await traced;
    }
  });
});
