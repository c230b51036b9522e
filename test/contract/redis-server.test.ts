import { connect } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type RedisServer, startRedis } from '../support/redis-server.ts';

/** The raw answer to one inline command, or an error. */
function ask(server: RedisServer, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, '127.0.0.1', () => socket.write(`${command}\r\n`));
    socket.once('data', (chunk) => {
      resolve(chunk.toString().trim());
      socket.destroy();
    });
    socket.once('error', reject);
  });
}

describe('the redis-server that tests bring', () => {
  it('starts on a free port, keeps its data over SIGKILL and restart, and is gone after stop', async () => {
    const server = await startRedis({ appendfsync: 'always' });
    onTestFinished(() => server.stop());
    expect(await ask(server, 'SET key value')).toBe('+OK');
    const first = server.pid;
    await server.kill('SIGKILL');
    await expect(ask(server, 'PING')).rejects.toThrow('ECONNREFUSED');
    await server.restart();
    expect(server.pid).not.toBe(first);
    expect(await ask(server, 'GET key')).toContain('value');
    await server.stop();
    expect(() => process.kill(server.pid, 0)).toThrow('ESRCH');
  });

  it('runs several at once, and says what Redis said when it cannot start', async () => {
    const servers = await Promise.all([startRedis(), startRedis(), startRedis()]);
    onTestFinished(async () => {
      for (const server of servers) await server.stop();
    });
    expect(new Set(servers.map(({ port }) => port)).size).toBe(3);
    await expect(startRedis({ args: ['--no-such-option', '1'] })).rejects.toThrow('no-such-option');
  });
});
