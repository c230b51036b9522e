import type { NodeRequest, NodeResponse } from '../rpc/connect-response.ts';

export interface Page {
  status: number;
  contentType: string;
  body: string | Uint8Array;
  headers?: Record<string, string>;
}

/** Writes a whole answer; HEAD gets its headers. */
export function write(request: NodeRequest, response: NodeResponse, page: Page): void {
  if (response.headersSent || response.destroyed) return;
  const body = Buffer.from(page.body);
  // The types of node:http and node:http2's responses have no common signature.
  const out = response as unknown as {
    writeHead(status: number, headers: Record<string, string | number>): void;
    end(body?: Buffer): void;
  };
  // A 304 says nothing of a body that it has not (RFC 9110, 15.4.5).
  const about = { 'content-type': page.contentType, 'content-length': body.byteLength };
  out.writeHead(page.status, {
    ...(page.status === 304 ? {} : about),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...page.headers,
  });
  if (request.method === 'HEAD') out.end();
  else out.end(body);
}
