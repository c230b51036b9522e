import type { RedisOptions } from 'ioredis';
import { StoreOpenError } from '../store.ts';

/** Where Redis is, taken from its URL. */
export interface Target {
  options: RedisOptions;
  /** For people: without user and password. */
  label: string;
}

/** Reads `redis://user:password@host:port` or `rediss://…`. Errors name what is wrong, never the URL itself. */
export function parseTarget(text: string): Target {
  if (!URL.canParse(text)) throw new StoreOpenError('the Redis URL is not a URL');
  const url = new URL(text);
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:') {
    throw new StoreOpenError(`a Redis URL begins with redis:// or rediss://, not ${url.protocol}//`);
  }
  if (url.hostname === '') throw new StoreOpenError('the Redis URL names no host');
  if (!['', '/', '/0'].includes(url.pathname)) {
    throw new StoreOpenError(
      'the Redis URL selects a numbered database: use database 0 and redis.key_prefix, which also work in a cluster',
    );
  }
  if (url.search !== '' || url.hash !== '') throw new StoreOpenError('the Redis URL may not have parameters');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port === '' ? 6379 : Number(url.port);
  const options: RedisOptions = { host, port };
  try {
    if (url.username !== '') options.username = decodeURIComponent(url.username);
    if (url.password !== '') options.password = decodeURIComponent(url.password);
  } catch {
    throw new StoreOpenError('user or password in the Redis URL is not percent-encoded correctly');
  }
  if (url.protocol === 'rediss:') options.tls = { servername: host };
  return { options, label: `${url.hostname}:${port}` };
}

/** Prefix and database stand before the hash tag, so they may not hold one. */
export function checkPrefix(what: string, text: string): void {
  if (!/^[\w.:/-]{1,100}$/.test(text)) {
    throw new StoreOpenError(`${what} must be 1 to 100 letters, digits or . _ - : /`);
  }
}
