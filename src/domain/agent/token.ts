import { createHash, timingSafeEqual } from 'node:crypto';
import type { Ids } from '../../lib/ids.ts';

const PREFIX = 'orch1';
const SECRET_BYTES = 32;
/** Longest token taken: both names at their limits. */
const MAX_LENGTH = 512;

/** Whom a token names. The name is a claim until the token's hash is found in that agent's record. */
export interface TokenClaim {
  namespace: string;
  agentId: string;
}

/** A new secret for an agent: "orch1.<base64url of namespace/id>.<base64url of 32 random bytes>". */
export function mintToken(ids: Ids, claim: TokenClaim): string {
  const name = Buffer.from(`${claim.namespace}/${claim.agentId}`).toString('base64url');
  return `${PREFIX}.${name}.${Buffer.from(ids.secret(SECRET_BYTES)).toString('base64url')}`;
}

/** Whom the token claims to belong to; undefined if it is no token of ours. */
export function claimOf(token: string): TokenClaim | undefined {
  if (token.length > MAX_LENGTH) return undefined;
  const [prefix, name, secret, ...rest] = token.split('.');
  if (prefix !== PREFIX || name === undefined || !secret || rest.length > 0) return undefined;
  const text = Buffer.from(name, 'base64url').toString();
  const slash = text.indexOf('/');
  if (slash <= 0) return undefined;
  return { namespace: text.slice(0, slash), agentId: text.slice(slash + 1) };
}

export function hashToken(token: string): Uint8Array {
  return createHash('sha256').update(token).digest();
}

/** Compares in constant time. */
export function knowsToken(hashes: readonly Uint8Array[], hash: Uint8Array): boolean {
  return hashes.some((known) => known.length === hash.length && timingSafeEqual(known, hash));
}
