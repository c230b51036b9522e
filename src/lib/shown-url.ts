/**
 * A URL or address for people, without what may be secret: its password, its parameters and, unless `path` is set, its path
 * (addresses of webhooks are often passwords by themselves).
 */
export function shownUrl(text: string, options: { path: boolean }): string {
  const [, scheme = '', login = '', host = '', path = '', rest = ''] =
    /^([a-z][a-z0-9+.-]*:\/\/)?(?:(.*)@)?([^/?#]*)([^?#]*)(.*)$/is.exec(text) ?? [];
  const colon = login.indexOf(':');
  const user = login === '' ? '' : `${colon === -1 ? '' : `${login.slice(0, colon)}:`}***@`;
  const shownPath = options.path || path.length <= 1 ? path : '/***';
  return `${scheme}${user}${host}${shownPath}${rest === '' ? '' : '?***'}`;
}
