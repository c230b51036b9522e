import { SinkError } from '../domain/monitoring/sinks/ports.ts';
import type { HttpAnswer } from './http-client.ts';
import type { Secrets } from './secrets.ts';

/** Statuses that say: this content is not wanted, another may be. */
const REFUSALS = new Set([400, 413, 422]);
/** A sink may not keep itself away for longer. */
const MAX_RETRY_AFTER_MS = 300_000;

/** Nothing, if it was taken. @throws SinkError */
export function checkAnswer(answer: HttpAnswer, url: URL, secrets: Secrets): void {
  const { status } = answer;
  if (status >= 200 && status < 300) return;
  const said = secrets.excerpt(answer.body);
  const { host } = url;
  if (status >= 300 && status < 400) {
    const to = originOf(answer.headers.location, url);
    throw new SinkError({
      message: `${host} answered ${status}, a redirect${to}; redirects are not followed`,
    });
  }
  const retryAfterMs = retryAfter(answer.headers['retry-after']);
  throw new SinkError({
    message: `${host} answered ${status}${said === '' ? '' : `: ${said}`}`,
    refused: REFUSALS.has(status),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** Why a call did not come to an answer, in words without the URL. */
export function callError(error: unknown, url: URL, secrets: Secrets): SinkError {
  const { code, message, name } = (error ?? {}) as { code?: unknown; message?: unknown; name?: unknown };
  if (name === 'AbortError') return new SinkError({ message: `${url.host} did not answer in time` });
  const text = typeof message === 'string' && message !== '' ? message : String(code ?? 'failed');
  return new SinkError({ message: `${url.host} cannot be reached: ${secrets.excerpt(text)}` });
}

function originOf(location: string | undefined, base: URL): string {
  if (location === undefined || !URL.canParse(location, base.href)) return '';
  // The path may hold a token.
  return ` to ${new URL(location, base).origin}`;
}

/** RFC 9110, section 10.2.3, in seconds; dates are left out. */
function retryAfter(header: string | undefined): number | undefined {
  if (header === undefined || !/^\d{1,9}$/.test(header)) return undefined;
  return Math.min(MAX_RETRY_AFTER_MS, Number(header) * 1000);
}
