import { parseRedisUrl } from '../lib/redis-url.ts';

const SCHEMES = ['lmdb', 'redis', 'rediss', 'redis+sentinel', 'rediss+sentinel'];

/** Hides what may be a password: everything before the "@" but the user, and all of the query. */
export function redactUrl(text: string): string {
  return text
    .replace(/^([a-z][a-z0-9+.-]*:\/\/)(.*)@/is, (_, scheme: string, user: string) => {
      const colon = user.indexOf(':');
      return `${scheme}${colon === -1 ? '' : user.slice(0, colon)}${colon === -1 ? '***' : ':***'}@`;
    })
    .replace(/\?.*$/s, '?***');
}

export function storeKind(text: string): 'lmdb' | 'redis' | undefined {
  const scheme = /^([a-z+]+):/i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined || !SCHEMES.includes(scheme)) return undefined;
  return scheme === 'lmdb' ? 'lmdb' : 'redis';
}

/** Whether Sentinels say where this Redis is. */
export function usesSentinel(text: string): boolean {
  return /^rediss?\+sentinel:/i.test(text);
}

/** What is wrong with a store's URL, or undefined. The text is never repeated: it may hold a password. */
export function storeFault(text: string): string | undefined {
  switch (storeKind(text)) {
    case 'lmdb':
      return /^lmdb:\s*$/i.test(text) ? 'must name a directory: lmdb:./data' : undefined;
    case 'redis': {
      const url = parseRedisUrl(text);
      return 'fault' in url ? url.fault : undefined;
    }
    case undefined:
      return 'must be lmdb:<directory>, redis://host:port, redis+sentinel://host:port,…/name, or rediss for TLS';
  }
}

/** The same for a logical database: a URL, or a name in the default store. */
export function databaseFault(text: string): string | undefined {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/.test(text)) return undefined;
  if (storeKind(text) !== undefined) return storeFault(text);
  return 'must be a name (letters, digits, "_" and "-", at most 63) or a store URL (lmdb:<directory>, redis://host:port)';
}
