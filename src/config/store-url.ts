const SCHEMES = ['lmdb', 'redis', 'rediss'];

/** Hides what may be a password: everything before the "@" but the user, and all of the query. */
export function redactUrl(text: string): string {
  return text
    .replace(/^([a-z]+:\/\/)(.*)@/is, (_, scheme: string, user: string) => {
      const colon = user.indexOf(':');
      return `${scheme}${colon === -1 ? '' : user.slice(0, colon)}${colon === -1 ? '***' : ':***'}@`;
    })
    .replace(/\?.*$/s, '?***');
}

export function storeKind(text: string): 'lmdb' | 'redis' | undefined {
  const scheme = /^([a-z]+):/i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined || !SCHEMES.includes(scheme)) return undefined;
  return scheme === 'lmdb' ? 'lmdb' : 'redis';
}

/** What is wrong with a store's URL, or undefined. The text is never repeated: it may hold a password. */
export function storeFault(text: string): string | undefined {
  switch (storeKind(text)) {
    case 'lmdb':
      return /^lmdb:\s*$/i.test(text) ? 'must name a directory: lmdb:./data' : undefined;
    case 'redis':
      return redisFault(text);
    case undefined:
      return 'must be lmdb:<directory>, redis://host:port or rediss://host:port';
  }
}

function redisFault(text: string): string | undefined {
  if (!/^rediss?:\/\//i.test(text) || !URL.canParse(text)) {
    return 'is not a URL: redis://[user:password@]host[:port], with special characters of a password percent-encoded';
  }
  const url = new URL(text);
  if (url.hostname === '') return 'must name a host: redis://host:port';
  if (url.search !== '' || url.hash !== '') return 'must have nothing after the port (no query, no fragment)';
  if (!/^\/?0?$/.test(url.pathname)) {
    return 'must not choose a database number: keys are kept apart by redis.key_prefix';
  }
  try {
    decodeURIComponent(url.username + url.password);
  } catch {
    return 'has a user or password with a stray "%" (write it as %25)';
  }
  return undefined;
}

/** The same for a logical database: a URL, or a name in the default store. */
export function databaseFault(text: string): string | undefined {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/.test(text)) return undefined;
  if (storeKind(text) !== undefined) return storeFault(text);
  return 'must be a name (letters, digits, "_" and "-", at most 63) or a store URL (lmdb:<directory>, redis://host:port)';
}
