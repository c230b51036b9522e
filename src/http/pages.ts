import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import type { Logger } from '../lib/logger.ts';
import { Code } from '../rpc/codes.ts';
import { connectErrorJson } from '../rpc/connect-errors.ts';
import type { NodeRequest, NodeResponse } from '../rpc/connect-response.ts';
import { describeRefusal } from '../rpc/errors.ts';
import { EVENTS_PATH } from './events.ts';
import { landingPage, landingPolicy } from './landing.ts';
import { type StatusPages, statusBadgePage, statusPage } from './status-page.ts';
import type { WebAssets } from './web-assets.ts';
import { webAsset, webPage } from './web-page.ts';
import { type Page, write } from './write-page.ts';

/** Whether this replica takes calls, and its parts. `ready` is false only while it starts or leaves. */
export interface Readiness {
  ready: boolean;
  /** Small facts by part, for people: `{"store": {"available": true}}`. No secrets. */
  parts: Record<string, unknown>;
}

export interface PagesOptions {
  name: string;
  version: string;
  /** Full names of the services, for the landing page. */
  services: readonly string[];
  /** The Prometheus exposition. */
  metrics: () => Promise<{ contentType: string; body: string }>;
  readiness: () => Readiness;
  log: Logger;
  /** The status for others' pages; undefined: it is not told here. */
  status?: StatusPages | undefined;
  /** The dashboard; undefined: it was not built, and the landing page stands in its place. */
  web?: WebAssets | undefined;
  /** Takes events by POST; undefined: none are taken here. */
  events?: (request: NodeRequest, response: NodeResponse) => void;
}

const json = 'application/json; charset=utf-8';

/** Answers what is not an RPC: the pages that exist, 405 for other methods on them, 404 for the rest. */
export function createPages(options: PagesOptions): (request: NodeRequest, response: NodeResponse) => void {
  const { web } = options;
  const landing = landingPage({ ...options, hasDashboard: web !== undefined });
  const api = (): Page => ({
    status: 200,
    contentType: 'text/html; charset=utf-8',
    body: landing,
    headers: { 'content-security-policy': landingPolicy, 'referrer-policy': 'no-referrer' },
  });
  const pages: Record<string, (request: NodeRequest) => Page | Promise<Page>> = {
    '/': api,
    '/api': api,
    '/healthz': () => ({ status: 200, contentType: 'text/plain; charset=utf-8', body: 'ok\n' }),
    '/readyz': () => {
      const readiness = options.readiness();
      const body = `${JSON.stringify(readiness)}\n`;
      return { status: readiness.ready ? 200 : 503, contentType: json, body };
    },
    '/metrics': async () => {
      const { contentType, body } = await options.metrics();
      return { status: 200, contentType, body };
    },
    ...(options.status === undefined
      ? {}
      : { '/status': statusPage(options.status), '/status.svg': statusBadgePage(options.status) }),
  };
  return (request, response) => {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    if (path === EVENTS_PATH && options.events !== undefined) {
      if (request.method === 'POST') return options.events(request, response);
      return notAllowed(request, response, `${path} takes events with POST`, 'POST');
    }
    const own = Object.hasOwn(pages, path) ? pages[path] : undefined;
    // A file of the web page never stands before a page of ours, but for the start.
    const asset = web === undefined || (own !== undefined && path !== '/') ? undefined : webAsset(web, path);
    const page = asset === undefined ? own : () => webPage(asset, request);
    if (page === undefined) return notFound(path, request, response);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return notAllowed(request, response, `${path} is read with GET`, 'GET, HEAD');
    }
    (async () => write(request, response, await page(request)))().catch((error: unknown) => {
      options.log.error({ err: error, path }, 'a page could not be made');
      const body = JSON.stringify({ code: 'internal', message: 'the page could not be made' });
      write(request, response, { status: 500, contentType: json, body });
    });
  };
}

function notAllowed(request: NodeRequest, response: NodeResponse, message: string, allow: string): void {
  const body = JSON.stringify({ code: 'unimplemented', message });
  write(request, response, { status: 405, contentType: json, body, headers: { allow } });
}

/** Nothing there: for a gRPC client as a status, for everyone else as an error of the Connect protocol. */
function notFound(path: string, request: NodeRequest, response: NodeResponse): void {
  const isMethod = /^\/[\w.]+\/\w+$/.test(path);
  const message = isMethod ? 'there is no such method' : 'there is nothing here; / says what is';
  const error = describeRefusal({ reason: ErrorReason.METHOD_NOT_SERVED, message });
  const contentType = request.headers['content-type'] ?? '';
  if (contentType.startsWith('application/grpc')) {
    const headers = { 'grpc-status': String(Code.UNIMPLEMENTED), 'grpc-message': message };
    write(request, response, { status: 200, contentType, body: '', headers });
    return;
  }
  const headers = { 'error-reason': error.reason };
  write(request, response, {
    status: 404,
    contentType: 'application/json',
    body: connectErrorJson(error),
    headers,
  });
}
