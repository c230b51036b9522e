import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { selfSigned } from '../rpc/self-signed.ts';
import { startFakeService } from '../support/fake-service.ts';
import { cli } from '../support/run-cli.ts';
import { sampleAgent } from '../support/sample-agents.ts';

const closing: (() => Promise<void> | void)[] = [];
let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'orchestrator-cli-'));
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  rmSync(folder, { recursive: true });
});

async function listen(server: Server): Promise<string> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe('a server that is none', () => {
  it.each([
    [
      'speaks HTTP/1.1',
      () => createHttpServer((_request, response) => response.end('hello')),
      /does not speak HTTP\/2: is that the gRPC port/,
    ],
    ['hangs up at once', () => createServer((socket) => socket.end()), /the connection was (closed|reset)/],
    ['says nothing', () => createServer(), /no answer from 127\.0\.0\.1:\d+ in time \(DEADLINE_EXCEEDED\)/],
  ])('and %s ends in one clear line', async (_what, make, words) => {
    const address = await listen(make());
    const { code, stdout, stderr } = await cli([
      '--server',
      address,
      '--timeout',
      '300ms',
      'agents',
      'get',
      'a',
    ]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(words);
    expect(stderr).not.toContain('    at ');
  });

  it('and cannot be found is named', async () => {
    const { code, stderr } = await cli(['--server', 'nobody.invalid', 'agents', 'list']);
    expect(code).toBe(1);
    expect(stderr).toContain('cannot reach nobody.invalid:50051: ');
  });
});

describe('TLS', () => {
  const start = async () => {
    const tls = selfSigned('localhost');
    const service = await startFakeService({ agents: [sampleAgent('alpha')], tls });
    closing.push(() => service.close());
    const caFile = join(folder, 'ca.pem');
    writeFileSync(caFile, tls.cert);
    return { port: service.address.split(':')[1], caFile };
  };

  it.each(['127.0.0.1', 'localhost'])(
    'reaches a service at %s by the authority of --ca-file',
    async (host) => {
      const { port, caFile } = await start();
      const { code, stdout } = await cli([
        '--server',
        `https://${host}:${port}`,
        '--ca-file',
        caFile,
        'agents',
        'list',
      ]);
      expect(code).toBe(0);
      expect(stdout).toContain('alpha');
    },
  );

  it('refuses a service that no trusted authority vouches for, and says why', async () => {
    const { port } = await start();
    const { code, stdout, stderr } = await cli(['--server', `https://localhost:${port}`, 'agents', 'list']);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('TLS: self-signed certificate');
    expect(stderr).toContain('--ca-file');
  });

  it('hints at https:// missing or too much', async () => {
    const { port, caFile } = await start();
    expect((await cli(['--server', `localhost:${port}`, 'agents', 'list'])).code).toBe(1);
    const plain = await startFakeService();
    closing.push(() => plain.close());
    const { stderr } = await cli([
      '--server',
      `https://${plain.address}`,
      '--ca-file',
      caFile,
      'agents',
      'list',
    ]);
    expect(stderr).toContain('leave https:// out');
  });
});
