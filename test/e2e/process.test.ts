import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { GoAway_Reason } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { freePort, startRedis } from '../support/redis-server.ts';
import { runToExit, ServiceProcess } from '../support/service.ts';
import { Stack } from '../support/stack.ts';
import { until } from '../support/until.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'orchestrator-e2e-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function started(env: Record<string, string> = {}): Promise<Stack> {
  const stack = await Stack.start('lmdb', { env });
  cleanups.push(() => stack.dispose());
  return stack;
}

describe('ending the service', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    'with %s says goaway to every session and exits with 0',
    async (signal) => {
      const stack = await started();
      const sessions = await Promise.all(
        Array.from({ length: 30 }, (_, i) => stack.agent({ id: `a-${i}` }).join()),
      );
      const startMs = performance.now();
      const exit = await stack.service.kill(signal);
      expect(exit).toEqual({ code: 0, signal: null });
      expect(performance.now() - startMs).toBeLessThan(5000);
      for (const session of sessions) {
        await session.ended;
        expect(session.goAway?.reason).toBe(GoAway_Reason.SHUTDOWN);
        expect(session.goAway?.reconnectAfter).toBeDefined();
      }
      await stack.restart();
      const { agent } = await stack.clients.agents.getAgent({ agentId: 'a-0' });
      expect(agent?.phase).toBeDefined();
    },
  );

  it('ends by its deadline although streams stay open and clients hang', async () => {
    const stack = await started({ ORCHESTRATOR_SHUTDOWN_TIMEOUT: '1s', ORCHESTRATOR_SHUTDOWN_SPREAD: '0s' });
    const agent = stack.agent({ id: 'hanging' });
    const session = await agent.join();
    session.stopReading();
    const watching = stack.clients.agents.watchAgents({})[Symbol.asyncIterator]();
    await watching.next();
    const startMs = performance.now();
    await stack.service.kill('SIGTERM');
    expect(performance.now() - startMs).toBeLessThan(4000);
  });

  it('is not ready while it leaves, and a second signal ends it at once', async () => {
    const stack = await started({
      ORCHESTRATOR_SHUTDOWN_TIMEOUT: '30s',
      ORCHESTRATOR_SHUTDOWN_SPREAD: '20s',
    });
    await Promise.all(Array.from({ length: 20 }, (_, i) => stack.agent({ id: `b-${i}` }).join()));
    const ready = await fetch(`http://${stack.service.http}/readyz`);
    expect(ready.status).toBe(200);
    stack.service.signal('SIGTERM');
    await until(
      () => fetch(`http://${stack.service.http}/readyz`).then((response) => response.status),
      (code) => code === 503,
      { what: '/readyz to say 503' },
    );
    const startMs = performance.now();
    const exit = await stack.service.kill('SIGTERM');
    expect(performance.now() - startMs).toBeLessThan(2000);
    expect(exit.code).not.toBe(0);
  });
});

describe('a start that cannot work', () => {
  const lines = (text: string) => text.split('\n').filter((line) => line.trim() !== '');
  /** One clear line: no stack trace, no walls of text. */
  const clearly = (result: { stdout: string; stderr: string }, word: RegExp) => {
    const said = lines(result.stdout + result.stderr);
    expect(said.join('\n')).toMatch(word);
    expect(said.filter((line) => /^\s+at /.test(line) || line.includes('"stack"'))).toEqual([]);
    expect(said.length).toBeLessThanOrEqual(3);
  };

  it.each(['ORCHESTRATOR_GRPC_LISTEN', 'ORCHESTRATOR_HTTP_LISTEN'])(
    'says that the port of %s is in use',
    async (variable) => {
      const squatter = createServer();
      await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve));
      cleanups.push(() => squatter.close());
      const address = squatter.address();
      const port = typeof address === 'object' ? address?.port : 0;
      const result = await runToExit({
        store: `lmdb:${scratch()}`,
        env: { [variable]: `127.0.0.1:${port}` },
      });
      expect(result.code).toBe(1);
      clearly(result, new RegExp(`127\\.0\\.0\\.1:${port}: another process listens there`));
    },
  );

  it('says that the data directory is used by another process', async () => {
    const directory = scratch();
    const first = await ServiceProcess.start({ store: `lmdb:${directory}` });
    cleanups.push(() => first.stop());
    const result = await runToExit({ store: `lmdb:${directory}` });
    expect(result.code).toBe(1);
    clearly(result, /use|lock/i);
    expect(`${result.stdout}${result.stderr}`).toContain(directory);
    // The lock goes with the process that holds it.
    await first.kill('SIGKILL');
    const second = await ServiceProcess.start({ store: `lmdb:${directory}` });
    await second.stop();
  });

  it('says that the data directory cannot be written', async () => {
    const file = join(scratch(), 'file');
    writeFileSync(file, '');
    const result = await runToExit({ store: `lmdb:${join(file, 'data')}` });
    expect(result.code).toBe(1);
    clearly(result, /data directory|directory/i);
    const proc = await runToExit({ store: 'lmdb:/proc/orchestrator' });
    expect(proc.code).toBe(1);
    clearly(proc, /\/proc\/orchestrator/);
  });

  it('says that Redis cannot be reached, without its password', async () => {
    const port = await freePort();
    const result = await runToExit({ store: `redis://:hunter2@127.0.0.1:${port}`, timeoutMs: 40_000 });
    expect(result.code).toBe(1);
    clearly(result, new RegExp(`${port}`));
    expect(`${result.stdout}${result.stderr}`).not.toContain('hunter2');
  });

  it('says that Redis would evict what was acknowledged', async () => {
    const redis = await startRedis({ args: ['--maxmemory', '64mb', '--maxmemory-policy', 'allkeys-lru'] });
    cleanups.push(() => redis.stop());
    const result = await runToExit({ store: redis.url });
    expect(result.code).toBe(1);
    clearly(result, /allkeys-lru|evict/);
  });

  it('lists every mistake of the configuration with its place and exits with 2', async () => {
    const directory = scratch();
    const file = join(directory, 'config.yaml');
    writeFileSync(
      file,
      [
        'orchestrator:',
        '  id: "not an id"',
        '  sesion:',
        '    lease: 1s',
        '  alert_thresholds:',
        '    system_load: 7',
      ].join('\n'),
    );
    const env = { ORCHESTRATOR_SESSION_PING_INTERVAL: 'often', ORCHESTRATOR_NO_SUCH_KEY: '1' };
    const result = await runToExit({ store: `lmdb:${directory}/data`, args: ['--config', file], env });
    expect(result.code).toBe(2);
    const said = result.stdout + result.stderr;
    for (const place of [
      'config.yaml:2',
      'config.yaml:3',
      'config.yaml:6',
      'ORCHESTRATOR_SESSION_PING_INTERVAL',
      'ORCHESTRATOR_NO_SUCH_KEY',
    ]) {
      expect(said).toContain(place);
    }
    expect(said).not.toMatch(/\n\s+at /);
    expect(readdirSync(directory)).toEqual(['config.yaml']);
  });
});
