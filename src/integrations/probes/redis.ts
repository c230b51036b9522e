import type { Socket } from 'node:net';
import type { Probe } from '../../domain/monitoring/services/ports.ts';
import { parseRedisUrl } from '../../lib/redis-url.ts';
import type { TlsTrust } from './http.ts';
import { open } from './tcp.ts';
import { connectionWords, saidWord } from './wording.ts';

/** Of one line of an answer. */
const MAX_LINE_BYTES = 1024;

/** Asks a Redis server with PING, after AUTH where the URL has a password (RESP 2). */
export function redisProbe(trust: TlsTrust = {}): Probe {
  return async (service, signal) => {
    const url = parseRedisUrl(service.target);
    const address = 'fault' in url ? undefined : url.addresses[0];
    if ('fault' in url || address === undefined) return { ok: false, detail: 'has no proper address' };
    const startMs = performance.now();
    let socket: Socket | undefined;
    try {
      socket = await open(address, signal, url.tls ? trust : undefined);
      const { username, password } = url;
      const login = password === undefined ? [] : [username ?? 'default', password];
      if (login.length > 0) {
        const said = await ask(socket, ['AUTH', ...(username === undefined ? login.slice(1) : login)]);
        if (said !== '+OK') return { ok: false, detail: errorWords(said, 'AUTH') };
      }
      const said = await ask(socket, ['PING']);
      if (said !== '+PONG') return { ok: false, detail: errorWords(said, 'PING') };
      return { ok: true, latencyMs: performance.now() - startMs };
    } catch (error) {
      return {
        ok: false,
        detail: error === TOO_LONG ? 'does not speak as Redis does' : connectionWords(error),
      };
    } finally {
      socket?.destroy();
    }
  };
}

const TOO_LONG = new Error('the line is too long');

/** The first line of the answer. */
function ask(socket: Socket, words: readonly string[]): Promise<string> {
  const lines = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
  return new Promise((resolve, reject) => {
    let heard = '';
    const end = (): void => {
      socket.off('data', onData);
      socket.off('error', reject);
      socket.off('close', onClose);
    };
    const onClose = (): void => {
      end();
      reject(Object.assign(new Error('closed'), { code: 'ECONNRESET' }));
    };
    const onData = (chunk: Buffer): void => {
      heard += chunk.toString('latin1');
      const line = heard.indexOf('\r\n');
      if (line === -1 && heard.length <= MAX_LINE_BYTES) return;
      end();
      if (line === -1) reject(TOO_LONG);
      else resolve(heard.slice(0, line));
    };
    socket.on('data', onData);
    socket.on('error', reject);
    socket.on('close', onClose);
    socket.write(`*${words.length}\r\n${lines.join('')}`);
  });
}

/** Only the first word of an error: what follows may repeat what was said to it. */
function errorWords(said: string, command: string): string {
  const [, code = ''] = /^-([A-Z]+)/.exec(said) ?? [];
  switch (code) {
    case 'LOADING':
      return 'is loading its data';
    case 'NOAUTH':
      return 'wants a password';
    case 'WRONGPASS':
      return 'refuses the user or password';
    case 'MASTERDOWN':
      return 'has lost its primary';
    case '':
      return said.startsWith('-') ? `answered ${command} with an error` : 'does not speak as Redis does';
    default:
      // AUTH without a password set is ERR.
      return `answered ${command} with the error ${saidWord(code)}`;
  }
}
