import { connect as netConnect, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import type { Probe } from '../../domain/monitoring/services/ports.ts';
import type { TlsTrust } from './http.ts';
import { connectionWords } from './wording.ts';

/** Whether a connection is accepted; nothing is said on it. */
export function tcpProbe(): Probe {
  return async (service, signal) => {
    const startMs = performance.now();
    try {
      const socket = await open(addressOf(service.target), signal);
      socket.destroy();
      return { ok: true, latencyMs: performance.now() - startMs };
    } catch (error) {
      return { ok: false, detail: connectionWords(error) };
    }
  };
}

export interface Address {
  /** Without brackets. */
  host: string;
  port: number;
}

/** Of "host:port" or "[IPv6]:port"; the configuration was checked. */
export function addressOf(text: string): Address {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}

/** A connection; with `tls` its certificate was verified. @throws Error */
export function open(
  { host, port }: Address,
  signal: AbortSignal,
  tls?: TlsTrust & { alpn?: string[] },
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket =
      tls === undefined
        ? netConnect({ host, port })
        : tlsConnect({
            ...{ host, port, ...(tls.ca === undefined ? {} : { ca: tls.ca }) },
            ...(tls.alpn === undefined ? {} : { ALPNProtocols: tls.alpn }),
            ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
          });
    const abort = (): void => void socket.destroy(new DOMException('aborted', 'AbortError'));
    signal.addEventListener('abort', abort, { once: true });
    socket.once('close', () => signal.removeEventListener('abort', abort));
    // Stays: what comes after the connection must not be thrown.
    socket.on('error', reject);
    socket.once(tls === undefined ? 'connect' : 'secureConnect', () => resolve(socket));
    socket.once('close', () => reject(new Error('closed')));
    if (signal.aborted) abort();
  });
}
