import { isIP } from 'node:net';
import type { RedisOptions } from 'ioredis';
import { type Address, parseRedisUrl, showAddress } from '../../lib/redis-url.ts';
import { StoreOpenError } from '../store.ts';

export type { Address } from '../../lib/redis-url.ts';

/** Where Redis is, taken from its URL. */
export interface Target {
  /** The server's address; with `master`: those of the Sentinels. */
  addresses: readonly Address[];
  /** What Sentinels call the primary; undefined: there are none. */
  master: string | undefined;
  tls: boolean;
  /** User and password at the servers, and at the Sentinels. */
  login: Login;
  sentinelLogin: Login;
  /** For people: without user and password. */
  label: string;
}

export type Login = Pick<RedisOptions, 'username' | 'password'>;

/** Reads the URL of a store. Errors name what is wrong, never the URL itself. */
export function parseTarget(text: string, sentinel: { user: string; password: string }): Target {
  const url = parseRedisUrl(text);
  if ('fault' in url) throw new StoreOpenError(`the URL of Redis ${url.fault}`);
  const { addresses, master, tls, username, password } = url;
  const shown = addresses.map(showAddress).join(', ');
  return {
    ...{ addresses, master, tls, login: login(username, password) },
    sentinelLogin: login(sentinel.user || undefined, sentinel.password || undefined),
    label: master === undefined ? shown : `${master} (Sentinels ${shown})`,
  };
}

function login(username: string | undefined, password: string | undefined): Login {
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
}

/** TLS to one address. A name is sent and checked; for an IP address only its certificate counts. */
export function tlsTo({ host }: Address): { servername?: string } {
  return isIP(host) === 0 ? { servername: host } : {};
}

/** Prefix and database stand before the hash tag, so they may not hold one. */
export function checkPrefix(what: string, text: string): void {
  if (!/^[\w.:/-]{1,100}$/.test(text)) {
    throw new StoreOpenError(`${what} must be 1 to 100 letters, digits or . _ - : /`);
  }
}
