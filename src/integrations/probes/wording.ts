/** What went wrong on a connection, in a few words without addresses; errors of Node hold them. */
export function connectionWords(error: unknown): string {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
  const text = typeof code === 'string' ? code : '';
  if (name === 'AbortError') return 'did not answer in time';
  const known = WORDS[text];
  if (known !== undefined) return known;
  if (/CERT|_SIGNATURE|SELF_SIGNED|_ISSUER/.test(text))
    return `has a certificate that is not valid (${text})`;
  if (/^(HPE_|ERR_HTTP)/.test(text)) return `did not answer in the protocol (${text})`;
  if (/^(ERR_SSL|ERR_TLS|EPROTO)/.test(text)) return `could not be reached by TLS (${text})`;
  return `could not be reached (${/^[A-Z0-9_]{1,64}$/.test(text) ? text : 'unknown error'})`;
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refuses connections',
  ECONNRESET: 'closed the connection',
  EPIPE: 'closed the connection',
  ENOTFOUND: 'has a name that is not known',
  EAI_AGAIN: 'has a name that could not be looked up',
  EHOSTUNREACH: 'has no way to it',
  ENETUNREACH: 'has no way to it',
  ETIMEDOUT: 'did not answer in time',
  ERR_TLS_CERT_ALTNAME_INVALID: 'has a certificate for another name',
};

/** A word of a server's answer, for people: bounded and without control characters. */
export const saidWord = (text: string): string => text.replace(/[^\x20-\x7e]/g, '?').slice(0, 64);
