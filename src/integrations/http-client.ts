import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

export interface HttpClientOptions {
  /** Connections at a time. */
  maxSockets: number;
  /** Certificates of authorities to trust instead of the known ones, PEM. */
  ca?: string;
}

export interface HttpCall {
  url: URL;
  method: 'GET' | 'POST';
  headers: Readonly<Record<string, string>>;
  body?: string;
  signal: AbortSignal;
  /** Read of the answer, at most; what is beyond is not waited for. */
  maxBodyBytes: number;
}

export interface HttpAnswer {
  status: number;
  headers: IncomingMessage['headers'];
  /** The beginning of the body: what came of it in time. */
  body: string;
}

/** How long an answer's body may take after its status. */
const BODY_MS = 1000;
/** Of headers of an answer. */
const MAX_HEADER_BYTES = 16_384;

/**
 * HTTP/1.1 with bounds: the answer's size and time, and the connections. Redirects are not followed; certificates are
 * verified. It counts what the status says: a body that is too long or too slow is cut off, and spoils nothing.
 */
export class HttpClient {
  readonly #http: HttpAgent;
  readonly #https: HttpsAgent;

  constructor(options: HttpClientOptions) {
    const { maxSockets, ca } = options;
    // Kept connections are closed before servers usually do it: a request on one that is just closed would be lost.
    const pool = {
      keepAlive: true,
      maxSockets,
      maxFreeSockets: 2,
      timeout: 4000,
      scheduling: 'lifo',
    } as const;
    this.#http = new HttpAgent(pool);
    this.#https = new HttpsAgent({ ...pool, ...(ca === undefined ? {} : { ca }) });
  }

  /** @throws Error of the connection, TLS or the signal; its text may hold the host, never the URL */
  async call(call: HttpCall): Promise<HttpAnswer> {
    try {
      return await this.#try(call);
    } catch (error) {
      // The server had closed a kept connection in the meantime: that says nothing about it.
      if (error !== STALE || call.signal.aborted) throw error;
      return this.#try(call, true);
    }
  }

  #try(call: HttpCall, again = false): Promise<HttpAnswer> {
    const { url, method, headers, body, signal } = call;
    const secure = url.protocol === 'https:';
    const options = {
      ...{ method, signal, agent: secure ? this.#https : this.#http, maxHeaderSize: MAX_HEADER_BYTES },
      headers: {
        ...headers,
        ...(body === undefined ? {} : { 'content-length': `${Buffer.byteLength(body)}` }),
      },
    };
    // Not from the URL: it would bring its user and password as a header of its own.
    const place = {
      hostname: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
      path: url.pathname + url.search,
    };
    return new Promise((resolve, reject) => {
      const send = secure ? httpsRequest : httpRequest;
      const request = send({ ...options, ...place }, (response) => {
        readBody(response, call.maxBodyBytes).then(
          (text) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
          reject,
        );
      });
      request.on('error', (error: NodeJS.ErrnoException) => {
        const cut = error.code === 'ECONNRESET' || error.code === 'EPIPE';
        reject(cut && request.reusedSocket && !again ? STALE : error);
      });
      request.end(body);
    });
  }

  /** Cuts off what is under way. */
  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }
}

const STALE = new Error('a kept connection was closed');

/** What came within the bounds; the connection is given up if that was not all. */
function readBody(response: IncomingMessage, maxBytes: number): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const end = (): void => {
      clearTimeout(timer);
      if (!response.complete) response.destroy();
      resolve(Buffer.concat(chunks).toString('utf8'));
    };
    const timer = setTimeout(end, BODY_MS);
    response.on('data', (chunk: Buffer) => {
      const room = maxBytes - bytes;
      if (room > 0) chunks.push(chunk.subarray(0, room));
      bytes += chunk.length;
      if (bytes > maxBytes) end();
    });
    response.on('end', end);
    // Also when it was cut off in between: the status was there.
    response.on('close', end);
    response.on('error', end);
  });
}
