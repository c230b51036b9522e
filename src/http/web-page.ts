import type { NodeRequest } from '../rpc/connect-response.ts';
import type { WebAsset, WebAssets } from './web-assets.ts';
import type { Page } from './write-page.ts';

/** Nothing but what this port itself serves: no inline script or style, no other host, no framing, no forms sent anywhere. */
export const webPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "worker-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const SECURITY = {
  'content-security-policy': webPolicy,
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
};

/** The asset at a path of the web page; "/" is its start. */
export function webAsset(assets: WebAssets, path: string): WebAsset | undefined {
  return assets.get(path === '/' ? '/index.html' : path);
}

/** The answer to a GET of an asset, in the best form that the client takes. */
export function webPage(asset: WebAsset, request: NodeRequest): Page {
  const headers: Record<string, string> = {
    ...SECURITY,
    etag: asset.etag,
    vary: 'accept-encoding',
    'cache-control': asset.immutable ? 'public, max-age=31536000, immutable' : 'no-cache',
  };
  const { contentType } = asset;
  if (isKnown(request.headers['if-none-match'], asset.etag))
    return { status: 304, contentType, body: '', headers };
  const accepted = acceptedEncodings(request.headers['accept-encoding']);
  if (asset.br !== undefined && accepted.has('br'))
    return { status: 200, contentType, body: asset.br, headers: { ...headers, 'content-encoding': 'br' } };
  if (asset.gzip !== undefined && accepted.has('gzip'))
    return {
      status: 200,
      contentType,
      body: asset.gzip,
      headers: { ...headers, 'content-encoding': 'gzip' },
    };
  return { status: 200, contentType, body: asset.plain, headers };
}

/** RFC 9110, 13.1.2: a list of entity tags, weak ones count as well. */
function isKnown(header: string | undefined, etag: string): boolean {
  return (header ?? '').split(',').some((each) => each.trim().replace(/^W\//, '') === etag);
}

/** Those that the client takes with a weight above 0 (RFC 9110, 12.5.3). */
function acceptedEncodings(header: string | string[] | undefined): ReadonlySet<string> {
  const accepted = new Set<string>();
  for (const part of `${header ?? ''}`.split(',')) {
    const [name = '', ...parameters] = part.split(';').map((text) => text.trim().toLowerCase());
    const weight = parameters.find((text) => text.startsWith('q='));
    if (name !== '' && (weight === undefined || Number(weight.slice(2)) > 0)) accepted.add(name);
  }
  return accepted;
}
