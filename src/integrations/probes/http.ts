import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Probe, ProbeOutcome } from '../../domain/monitoring/services/ports.ts';
import { connectionWords } from './wording.ts';

const MAX_REDIRECTS = 3;
const MAX_HEADER_BYTES = 16_384;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

export interface TlsTrust {
  /** Certificates of authorities to trust in place of the known ones, PEM. */
  ca?: string | undefined;
}

interface Step {
  url: URL;
  headers: Readonly<Record<string, string>>;
}

/**
 * GETs a page, and looks at its status alone: the body is not read. Redirects are followed, at most three, unless their
 * status is what is expected; headers of the configuration go to the first origin only, and never from TLS to the clear.
 */
export function httpProbe(trust: TlsTrust = {}): Probe {
  return async (service, signal) => {
    const startMs = performance.now();
    const [from, to] = service.expectStatus;
    const first = withLogin(service.target, service.headers ?? {});
    let step: Step | undefined = first;
    for (let redirects = 0; step !== undefined; redirects += 1) {
      if (redirects > MAX_REDIRECTS) return failed(`redirects more than ${MAX_REDIRECTS} times`);
      let answer: { status: number; location: string | undefined };
      try {
        answer = await get(step, trust, signal);
      } catch (error) {
        return failed(connectionWords(error));
      }
      const { status, location }: typeof answer = answer;
      if (
        location !== undefined &&
        REDIRECTS.has(status) &&
        !(from >= 300 && from <= status && status <= to)
      ) {
        const next = follow(step, location, first);
        if (typeof next === 'string') return failed(next);
        step = next;
        continue;
      }
      if (status >= from && status <= to) return { ok: true, latencyMs: performance.now() - startMs };
      const expected = from === to ? String(from) : `${from} to ${to}`;
      return failed(`answered with status ${status}, not ${expected}`);
    }
    return failed('could not be asked');
  };
}

const failed = (detail: string): ProbeOutcome => ({ ok: false, detail });

/** User and password of a URL travel as a header. */
function withLogin(target: string, headers: Readonly<Record<string, string>>): Step {
  const url = new URL(target);
  if (url.username === '' && url.password === '') return { url, headers };
  const login = `${decoded(url.username)}:${decoded(url.password)}`;
  url.username = '';
  url.password = '';
  return { url, headers: { authorization: `Basic ${Buffer.from(login).toString('base64')}`, ...headers } };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A stray "%" is meant as it stands.
    return text;
  }
}

/** Where a redirect leads, or what is wrong with it. */
function follow({ url }: Step, location: string, first: Step): Step | string {
  if (!URL.canParse(location, url.href)) return 'redirects to what is no URL';
  const next = new URL(location, url);
  if (next.protocol !== 'https:' && next.protocol !== 'http:') return 'redirects to what is no HTTP';
  if (url.protocol === 'https:' && next.protocol === 'http:') return 'redirects from TLS to the clear';
  next.username = '';
  next.password = '';
  return { url: next, headers: next.origin === first.url.origin ? first.headers : {} };
}

function get(
  { url, headers }: Step,
  { ca }: TlsTrust,
  signal: AbortSignal,
): Promise<{ status: number; location: string | undefined }> {
  return new Promise((resolve, reject) => {
    const take = (response: IncomingMessage): void => {
      resolve({ status: response.statusCode ?? 0, location: response.headers.location });
      // However much there is: nobody reads it.
      response.destroy();
    };
    const options = {
      ...{ method: 'GET', signal, agent: false as const, maxHeaderSize: MAX_HEADER_BYTES },
      headers: { 'user-agent': 'mycosoft-orchestrator', accept: '*/*', ...headers, connection: 'close' },
    };
    const request =
      url.protocol === 'https:'
        ? httpsRequest(url, { ...options, ...(ca === undefined ? {} : { ca }) }, take)
        : httpRequest(url, options, take);
    request.on('error', reject);
    request.end();
  });
}
