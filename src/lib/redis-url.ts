import { isIPv6 } from 'node:net';

export interface Address {
  /** Without brackets. */
  host: string;
  port: number;
}

/** What a Redis URL says. */
export interface RedisUrl {
  tls: boolean;
  /** The server; with `master`: the Sentinels. */
  addresses: readonly Address[];
  /** The name by which Sentinels know the primary; undefined: the address is the primary's own. */
  master: string | undefined;
  username: string | undefined;
  password: string | undefined;
}

const SHAPE = /^(rediss?)(\+sentinel)?:\/\/(?:([^/?#]*)@)?([^/?#@]*)(\/[^?#]*)?([?#].*)?$/is;
const MAX_SENTINELS = 16;

/**
 * Reads `redis://[user:password@]host[:port]`, `redis+sentinel://[user:password@]host[:port],…/master-name`, and both
 * with `rediss` for TLS. What is wrong is said without repeating any of it: it may hold a password.
 */
export function parseRedisUrl(text: string): RedisUrl | { fault: string } {
  const [, scheme, sentinel, user, hosts = '', path = '', rest] = SHAPE.exec(text) ?? [];
  if (scheme === undefined) {
    return {
      fault:
        'is not a URL: redis://[user:password@]host[:port] or redis+sentinel://host[:port],…/name, with special characters of a password percent-encoded',
    };
  }
  const watched = sentinel !== undefined;
  if (rest !== undefined) return { fault: 'must have no parameters (nothing after "?" or "#")' };
  if (hosts === '') return { fault: 'must name a host: redis://host:port' };
  const addresses = hosts.split(',').map((host) => parseAddress(host, watched ? 26_379 : 6_379));
  if (!addresses.every((address) => address !== undefined)) {
    return { fault: 'names a host that is none: write host, host:port or [IPv6]:port' };
  }
  if (!watched && addresses.length > 1) {
    return { fault: 'names several hosts: only redis+sentinel:// does, with the addresses of the Sentinels' };
  }
  if (addresses.length > MAX_SENTINELS) return { fault: `names more than ${MAX_SENTINELS} Sentinels` };
  const master = watched ? /^\/([\w.-]{1,100})$/.exec(path)?.[1] : undefined;
  if (watched && master === undefined) {
    return {
      fault: 'must end in the name that Sentinel has for the primary: redis+sentinel://host:port/mymaster',
    };
  }
  if (!watched && !/^\/?0?$/.test(path)) {
    return { fault: 'must not choose a database number: keys are kept apart by redis.key_prefix' };
  }
  const login = parseLogin(user ?? '');
  if (login === undefined) return { fault: 'has a user or password with a stray "%" (write it as %25)' };
  return { tls: scheme.toLowerCase() === 'rediss', addresses, master, ...login };
}

function parseAddress(text: string, defaultPort: number): Address | undefined {
  const [, v6, name, digits] = /^(?:\[([^\]]+)\]|([A-Za-z0-9._-]{1,253}))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = v6 ?? name;
  const port = digits === undefined ? defaultPort : Number(digits);
  if (host === undefined || port === 0 || port > 65_535 || (v6 !== undefined && !isIPv6(v6)))
    return undefined;
  return { host, port };
}

function parseLogin(text: string): Pick<RedisUrl, 'username' | 'password'> | undefined {
  const colon = text.indexOf(':');
  try {
    const username = decodeURIComponent(colon === -1 ? text : text.slice(0, colon));
    const password = colon === -1 ? '' : decodeURIComponent(text.slice(colon + 1));
    return { username: username || undefined, password: password || undefined };
  } catch {
    return undefined;
  }
}

/** "host:port", with brackets where they belong. */
export function showAddress({ host, port }: Address): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
