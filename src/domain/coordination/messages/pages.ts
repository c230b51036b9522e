import { decodePageToken, encodePageToken } from '../../../lib/page-token.ts';
import { invalidFields } from '../../agent/errors.ts';

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

export const pageSize = (asked: number): number => (asked === 0 ? DEFAULT_PAGE : Math.min(MAX_PAGE, asked));

/** After which item the page begins; '' for the first. @throws DomainError INVALID_FIELDS */
export function afterOf(kind: string, token: string, print: string): string {
  if (token === '') return '';
  const decoded = decodePageToken(token, { kind, fingerprint: print });
  if (decoded.kind === 'token') return decoded.after;
  throw invalidFields(`page_token ${decoded.description}`, [
    { field: 'page_token', description: decoded.description },
  ]);
}

/** The first of what matches, and the token for the rest. */
export function pageOf<T>(
  kind: string,
  matching: readonly T[],
  size: number,
  print: string,
  nameOf: (item: T) => string,
): { items: T[]; nextPageToken: string } {
  const items = matching.slice(0, size);
  const last = items.at(-1);
  const more = matching.length > size && last !== undefined;
  return {
    items,
    nextPageToken: more ? encodePageToken({ kind, fingerprint: print, after: nameOf(last) }) : '',
  };
}
