import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TcpProxy } from './tcp-proxy.ts';
import { within } from './until.ts';

let server: Server;
let proxy: TcpProxy;
let client: Socket;
const accepted: Socket[] = [];

beforeEach(async () => {
  server = createServer((socket) => {
    accepted.push(socket);
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  proxy = await TcpProxy.start({ target: `127.0.0.1:${(server.address() as AddressInfo).port}` });
  client = connect({ host: '127.0.0.1', port: Number(proxy.address.split(':')[1]), noDelay: true });
  client.on('error', () => {});
});
afterEach(async () => {
  client.destroy();
  await proxy.close();
  for (const socket of accepted.splice(0)) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

async function roundTripMs(): Promise<number> {
  const startMs = performance.now();
  client.write('x');
  await once(client, 'data');
  return performance.now() - startMs;
}

it('adds its delays to each way, exactly', async () => {
  await roundTripMs();
  proxy.delayMs.up = 40;
  proxy.delayMs.down = 15;
  const times: number[] = [];
  for (let i = 0; i < 15; i++) times.push(await roundTripMs());
  const median = times.toSorted((a, b) => a - b)[7] ?? 0;
  expect(median).toBeGreaterThanOrEqual(55);
  expect(median).toBeLessThan(58);
});

it('keeps bytes back while it is stalled, and delivers them in order afterwards', async () => {
  await roundTripMs();
  proxy.stall(true);
  let heard = '';
  client.on('data', (bytes) => {
    heard += bytes.toString();
  });
  for (const letter of 'abcdef') client.write(letter);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(heard).toBe('');
  proxy.stall(false);
  while (heard.length < 6) await once(client, 'data');
  expect(heard).toBe('abcdef');
});

it('resets both sides when cut', async () => {
  await roundTripMs();
  const ends = [client, accepted[0] as Socket].map(
    (socket) => new Promise((end) => socket.once('close', end)),
  );
  proxy.cut();
  await within(Promise.all(ends), 1000, 'the end of both sides');
  expect(proxy.connections.size).toBe(0);
});

it('leaves the server in the dark when severed', async () => {
  await roundTripMs();
  const gone = once(client, 'close');
  for (const connection of proxy.connections) connection.sever();
  await gone;
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(accepted[0]?.readyState).toBe('open');
});
