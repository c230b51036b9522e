import { Secrets } from './secrets.ts';

export interface HttpTarget {
  /** The configured URL, to be shown: of path and query there is only that they are there. */
  shown: string;
  /** Without user and password. */
  url: URL;
  /** What goes along with each call: those of the configuration, and the user and password of the URL (RFC 7617). */
  headers: Readonly<Record<string, string>>;
  secrets: Secrets;
}

/** Where calls go, and what of it is secret. @param path is added to that of the URL */
export function httpTarget(
  config: { url?: string; headers?: Readonly<Record<string, string>> },
  path = '',
): HttpTarget {
  const url = new URL(config.url ?? '');
  const secrets = new Secrets();
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(config.headers ?? {})) {
    headers[name.toLowerCase()] = value;
    // "Bearer <token>": the token alone is one too.
    secrets.add(value, ...value.split(/\s+/).slice(1));
  }
  if (url.username !== '' || url.password !== '') {
    const [user, password] = [decoded(url.username), decoded(url.password)];
    const basic = Buffer.from(`${user}:${password}`).toString('base64');
    headers.authorization ??= `Basic ${basic}`;
    secrets.add(password, url.password, basic);
    url.username = '';
    url.password = '';
  }
  // Hooks of chat services have their token in the path or the query.
  for (const part of url.pathname.split('/')) if (part.length >= TOKEN) secrets.add(part);
  for (const value of url.searchParams.values()) secrets.add(value);
  const shown = url.origin + (url.pathname === '/' && url.search === '' ? '' : '/…');
  url.pathname = url.pathname.replace(/\/+$/, '') + path || '/';
  return { shown, url, headers, secrets };
}

/** A part of a path that is so long may be a token. */
const TOKEN = 16;

/** A "%" that encodes nothing stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
