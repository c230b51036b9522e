import { type ChildProcess, spawn } from 'node:child_process';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { Agent_Liveness, Relationship_Type } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { AlertService } from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import { connectClients } from '../../support/clients.ts';
import type { ServiceProcess } from '../../support/service.ts';
import { RawFleet } from '../../support/tasks/raw-fleet.ts';
import { until } from '../../support/until.ts';

/** A fleet with something of everything: the demo's agents, and tasks, quotas, an operation and a silence. */
export class DemoFleet {
  readonly #demo: ChildProcess;
  readonly #workers: RawFleet;

  private constructor(demo: ChildProcess, workers: RawFleet) {
    this.#demo = demo;
    this.#workers = workers;
  }

  static async start(service: ServiceProcess): Promise<DemoFleet> {
    const args = ['dist/examples/demo/main.js', '--server', service.grpc, '--http', `http://${service.http}`];
    const demo = spawn(process.execPath, args, { stdio: 'ignore' });
    // They take tasks and let them run.
    const workers = new RawFleet({
      address: service.grpc,
      connections: 1,
      onTask: ({ agent, work }) => void agent.accept(work),
    });
    const fleet = new DemoFleet(demo, workers);
    try {
      await fleet.#fill(service);
    } catch (error) {
      await fleet.stop();
      throw error;
    }
    return fleet;
  }

  async #fill(service: ServiceProcess): Promise<void> {
    const zones = ['zone-a', 'zone-b', 'zone-c'];
    const names = ['worker-1', 'worker-2', 'worker-3', 'worker-4'];
    await this.#workers.join(
      names.map((id, index) => ({
        id,
        spec: {
          kind: 'worker',
          version: '2.1.0',
          labels: { 'topology.kubernetes.io/zone': zones[index % 3] ?? '', env: 'demo' },
          capabilities: [{ name: 'render', version: '1.4.0' }],
          capacity: { slots: 3n, gpu: 1n, memory_bytes: 8n << 30n },
          relationships: [{ type: Relationship_Type.DEPENDS_ON, agentId: 'planner-1' }],
        },
      })),
      3,
    );
    const clients = connectClients(service.grpc);
    try {
      await clients.resources.updateQuota({
        quota: {
          owner: 'studio',
          hard: { slots: 10n, gpu: 3n },
          soft: { slots: 6n },
          budgets: [{ name: 'tokens', limit: 2_000_000n, period: { seconds: 86_400n } }],
        },
      });
      for (let index = 0; index < 9; index += 1) {
        await clients.tasks.submitTask({
          spec: {
            capability: 'render',
            resources: { memory_bytes: 2n << 30n, ...(index % 3 === 0 ? { gpu: 1n } : {}) },
            budgets: { tokens: 90_000n },
            labels: { owner: 'studio' },
          },
        });
      }
      await clients.tasks.submitTask({ spec: { capability: 'translate' } });
      await clients.tasks.submitTask({ spec: { capability: 'render', resources: { gpu: 4n } } });
      await clients.operations.startOperation({
        spec: {
          command: 'reload',
          agentIds: names,
          wave: { amount: { case: 'count', value: 2 } },
          reason: 'new prompts',
        },
      });
      await until(
        async () => (await clients.monitoring.getSystemStatus({})).status?.fleet?.byLiveness ?? [],
        (counts) =>
          counts.some(({ liveness, count }) => liveness === Agent_Liveness.CONNECTED && count >= 16),
        { timeoutMs: 40_000, what: 'the demo to be attached' },
      );
    } finally {
      clients.close();
    }
    const alerts = createClient(
      AlertService,
      createConnectTransport({ baseUrl: `http://${service.http}`, httpVersion: '1.1' }),
    );
    await alerts.createSilence({
      namespace: 'default',
      matchers: [{ name: 'zone', value: 'zone-z*' }],
      endTime: { seconds: BigInt(Math.floor(Date.now() / 1_000) + 7_200) },
      comment: 'power is being worked on',
    });
  }

  async stop(): Promise<void> {
    this.#workers.close();
    if (this.#demo.exitCode !== null) return;
    const gone = new Promise((resolve) => this.#demo.once('close', resolve));
    this.#demo.kill('SIGKILL');
    await gone;
  }
}
