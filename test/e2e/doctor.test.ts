import { connect, createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Finding_Severity } from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { Stack } from '../support/stack.ts';
import { until } from '../support/until.ts';

let stack: Stack | undefined;
afterEach(async () => {
  await stack?.dispose();
  stack = undefined;
});

/** A port of loopback on which nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

describe('a diagnosis of a running service', () => {
  it('finds nothing above INFO on a healthy one, whatever was just done', async () => {
    stack = await Stack.start('lmdb');
    for (const id of ['a1', 'a2', 'a3']) await stack.agent({ id }).join();
    const { findings, elapsed } = await stack.clients.monitoring.diagnose({});
    const bad = findings.filter(({ severity }) => severity > Finding_Severity.INFO);
    expect(bad.map(({ code, summary, evidence }) => [code, summary, evidence])).toEqual([]);
    expect(new Set(findings.map(({ check }) => check)).size).toBe(21);
    expect(Number(elapsed?.seconds)).toBeLessThan(8);
  });

  it('finds a sink, a system service and a collector that nobody serves, and an agent that is not well', async () => {
    const port = await closedPort();
    await expect(
      new Promise((resolve, reject) => connect(port, '127.0.0.1', () => resolve('open')).on('error', reject)),
    ).rejects.toThrow();
    stack = await Stack.start('lmdb', {
      env: {
        ORCHESTRATOR_ALERTS_SINKS: JSON.stringify([
          { name: 'pager', kind: 'webhook', url: `http://127.0.0.1:${port}/`, events: ['agent.*'] },
        ]),
        ORCHESTRATOR_SERVICES: JSON.stringify([
          {
            name: 'gateway',
            probe: 'tcp',
            target: `127.0.0.1:${port}`,
            interval: '1s',
            timeout: '500ms',
            failures: 1,
          },
        ]),
        OTEL_TRACES_EXPORTER: 'otlp',
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
        OTEL_EXPORTER_OTLP_TIMEOUT: '500',
        OTEL_BSP_SCHEDULE_DELAY: '200',
        ORCHESTRATOR_SESSION_LEASE: '1s',
      },
    });
    const lost = stack.agent({ id: 'lost' });
    await lost.join();
    lost.close();
    const { monitoring } = stack.clients;
    const checks = ['integration.*', 'agent_management.monitor_failures'];
    const wanted = ['sink_failing', 'service_down', 'exporter_failing', 'agents_lost'];
    const codes = await until(
      async () => (await monitoring.diagnose({ checks })).findings.map(({ code }) => code),
      (found) => wanted.every((code) => found.includes(code)),
      { timeoutMs: 15_000, everyMs: 200, what: `findings of ${wanted.join(', ')}` },
    );
    expect(codes).toEqual(expect.arrayContaining(wanted));
  });
});
