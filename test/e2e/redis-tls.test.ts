import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { selfSigned } from '../rpc/self-signed.ts';
import { connectClients } from '../support/clients.ts';
import { freePort, type RedisServer, startProcess, startRedis } from '../support/redis-server.ts';
import { runToExit, ServiceProcess } from '../support/service.ts';

describe('Redis and Sentinels that speak only TLS', () => {
  const folder = mkdtempSync(join(tmpdir(), 'orchestrator-tls-'));
  const started: { stop(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const part of started.reverse()) await part.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('are used where the authority is trusted, and refused where it is not', async () => {
    const { cert, key } = selfSigned('redis');
    const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    writeFileSync(certFile, cert);
    writeFileSync(keyFile, key);
    const keep = (server: RedisServer): RedisServer => {
      started.push(server);
      return server;
    };
    const port = await freePort();
    const tls = [
      ...['--tls-cert-file', certFile, '--tls-key-file', keyFile, '--tls-ca-cert-file', certFile],
      ...['--tls-auth-clients', 'no', '--requirepass', 'hunter2'],
    ];
    keep(await startRedis({ args: [...tls, '--port', '0', '--tls-port', `${port}`] }));
    const sentinel = keep(
      await startProcess({
        ready: '+monitor master',
        args: (directory, sentinelPort) => {
          const file = join(directory, 'sentinel.conf');
          const lines = [
            ...['port 0', `tls-port ${sentinelPort}`, 'bind 127.0.0.1', `dir ${directory}`, 'logfile ""'],
            ...[`tls-cert-file ${certFile}`, `tls-key-file ${keyFile}`, `tls-ca-cert-file ${certFile}`],
            ...['tls-auth-clients no', 'tls-replication yes'],
            ...[`sentinel monitor main 127.0.0.1 ${port} 1`, 'sentinel auth-pass main hunter2'],
          ];
          writeFileSync(file, `${lines.join('\n')}\n`);
          return [file, '--sentinel'];
        },
      }),
    );
    const trusting = { NODE_EXTRA_CA_CERTS: certFile };
    for (const store of [
      `rediss://:hunter2@127.0.0.1:${port}`,
      `rediss+sentinel://:hunter2@127.0.0.1:${sentinel.port}/main`,
    ]) {
      const service = await ServiceProcess.start({ store, env: trusting });
      started.push(service);
      const clients = connectClients(service.grpc);
      const { agent } = await clients.agents.registerAgent({ agentId: 'one' });
      expect(agent?.id).toBe('one');
      const { status } = await clients.monitoring.getSystemStatus({});
      expect(status?.store?.detail).toContain(`127.0.0.1:${port}`);
      clients.close();
      await service.stop();
      expect(service.transcript()).not.toContain('hunter2');
      const refused = await runToExit({ store });
      expect(refused.code).toBe(1);
      expect(refused.stdout + refused.stderr).toMatch(/self-signed certificate/);
      expect(refused.stdout + refused.stderr).not.toContain('hunter2');
    }
  });
});
