import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Clients, connectClients } from '../support/clients.ts';
import { ServiceProcess } from '../support/service.ts';
import { SimAgent } from '../support/sim-agent.ts';
import { fastTimes } from '../support/stack.ts';
import { until } from '../support/until.ts';
import { MonitoringTool } from './monitoring-tools.ts';
import { suiteWith } from './tools.ts';

/** What Alertmanager tells its receivers. */
interface Told {
  status: string;
  labels: Record<string, string>;
}
interface Known {
  labels: Record<string, string>;
  annotations: Record<string, string>;
  startsAt: string;
  endsAt: string;
}

suiteWith('prometheus-alertmanager', 'Alertmanager as a sink', (tool) => {
  const told: Told[] = [];
  let receiver: Server;
  let alertmanager: MonitoringTool;
  let service: ServiceProcess;
  let clients: Clients;
  let agent: SimAgent;
  beforeAll(async () => {
    receiver = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      told.push(...(JSON.parse(body) as { alerts: Told[] }).alerts);
      response.end();
    }).listen(0, '127.0.0.1');
    await once(receiver, 'listening');
    const { port } = receiver.address() as AddressInfo;
    const config = {
      route: {
        ...{ receiver: 'team', group_by: ['alertname', 'namespace', 'agent_id'] },
        ...{ group_wait: '0s', group_interval: '1s', repeat_interval: '1h' },
      },
      receivers: [
        { name: 'team', webhook_configs: [{ url: `http://127.0.0.1:${port}/`, send_resolved: true }] },
      ],
    };
    alertmanager = await MonitoringTool.start(tool, config, (folder) => [
      ...[`--storage.path=${join(folder, 'data')}`, '--cluster.listen-address='],
    ]);
    const sinks = [{ name: 'am', kind: 'alertmanager', url: `http://${alertmanager.address}` }];
    service = await ServiceProcess.start({
      env: {
        ...fastTimes,
        ORCHESTRATOR_ALERTS_SINKS: JSON.stringify(sinks),
        ORCHESTRATOR_ALERTS_RESEND: '1s',
      },
    });
    clients = connectClients(service.grpc);
    agent = new SimAgent({ via: service.grpc, id: 'worker-7' });
    await agent.join();
    for (const id of ['worker-8', 'worker-9']) await new SimAgent({ via: service.grpc, id }).join();
  });
  afterAll(async () => {
    agent?.close();
    clients?.close();
    await service?.stop();
    await alertmanager?.end();
    receiver?.close();
    receiver?.closeAllConnections();
  });

  const mine = ({ labels }: { labels: Record<string, string> }) =>
    labels.alertname === 'agent_lost' && labels.agent_id === 'worker-7';
  const known = async () => ((await alertmanager.get('/api/v2/alerts')) as Known[]).find(mine);
  const toldAs = (status: string) => told.filter((one) => mine(one) && one.status === status).length;

  test('hears that an agent is lost, again and again while it is, and that it is back', async () => {
    agent.session?.break();
    const first = await until(known, (alert) => alert !== undefined, {
      what: 'the alert',
      timeoutMs: 20_000,
    });
    expect(first?.labels).toMatchObject({ namespace: 'default', severity: expect.stringMatching(/^\w+$/) });
    expect(first?.annotations.summary).toContain('worker-7');
    await until(
      () => toldAs('firing'),
      (times) => times === 1,
      { what: 'the team to be told', timeoutMs: 15_000 },
    );
    // Its end rolls on: Alertmanager would count it as over if it heard no more.
    const later = await until(
      known,
      (alert) => Date.parse(alert?.endsAt ?? '') > Date.parse(first?.endsAt ?? ''),
      {
        ...{ what: 'it to be sent again', timeoutMs: 15_000 },
      },
    );
    expect(later).toMatchObject({ labels: first?.labels, startsAt: first?.startsAt });

    await agent.attach().welcome;
    await until(
      () => toldAs('resolved'),
      (times) => times === 1,
      { what: 'the team to be told that it is over', timeoutMs: 20_000 },
    );
    expect(toldAs('firing')).toBe(1);
    const { sinks } = await clients.alerts.listAlertSinks({});
    expect(sinks.find(({ name }) => name === 'am')).toMatchObject({ name: 'am' });
  });
});
