import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { UniversalServerResponse } from '@connectrpc/connect/protocol';

export type NodeRequest = IncomingMessage | Http2ServerRequest;
export type NodeResponse = ServerResponse | Http2ServerResponse;

/** What this needs of both kinds of response; their types have no common signature. */
interface Writable {
  readonly destroyed: boolean;
  readonly headersSent: boolean;
  writeHead(status: number, headers: Record<string, string>): void;
  write(chunk: Uint8Array): boolean;
  addTrailers(trailers: Record<string, string>): void;
  end(): void;
  on(event: 'close' | 'drain', listener: () => void): void;
  off(event: 'close' | 'drain', listener: () => void): void;
}

/**
 * Writes a response at the pace of its reader. Unlike connect-node's own writer it also lets go when the response is
 * closed while it waits for a reader; that one waits for ever, and with it the method that makes the response.
 */
export async function writeResponse(answer: UniversalServerResponse, response: NodeResponse): Promise<void> {
  const out = response as unknown as Writable;
  const iterator = answer.body?.[Symbol.asyncIterator]();
  try {
    let chunk = await iterator?.next();
    if (isGone(response)) return;
    // Headers follow the first chunk: until then a method may set them.
    out.writeHead(answer.status, Object.fromEntries(answer.header ?? []));
    while (iterator !== undefined && chunk !== undefined && chunk.done !== true) {
      if (!out.write(chunk.value)) await drained(out, response);
      if (isGone(response)) return;
      chunk = await iterator.next();
    }
    if (isGone(response)) return;
    if (answer.trailer !== undefined) out.addTrailers(Object.fromEntries(answer.trailer));
    out.end();
  } finally {
    // Ends the method's stream, if it is not at its end. Not awaited: it may be in the middle of something.
    iterator?.return?.().catch(() => {});
  }
}

/** The HTTP/2 response keeps its `destroyed` to itself; its stream has it. */
function isGone(response: NodeResponse): boolean {
  if (response.destroyed) return true;
  return 'stream' in response && (response.stream === undefined || response.stream.destroyed);
}

function drained(out: Writable, response: NodeResponse): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      out.off('drain', settle);
      out.off('close', settle);
      resolve();
    };
    if (isGone(response)) {
      resolve();
      return;
    }
    out.on('drain', settle);
    out.on('close', settle);
  });
}
