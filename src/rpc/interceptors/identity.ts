import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../../lib/errors.ts';
import type { Principal } from '../service.ts';

/** Longer authorization headers are refused unread. */
const maxAuthorizationChars = 1_024;
/** `orch1.<base64url of "namespace/id">.<secret>` */
const tokenFormat = /^orch1\.([A-Za-z0-9_-]{1,260})\.[A-Za-z0-9_-]{1,128}$/;
const claimedName = /^[a-z0-9-]{1,63}\/[A-Za-z0-9._-]{1,128}$/;

export const anonymous: Principal = Object.freeze({ name: 'anonymous', token: undefined });

/** Reads who the caller claims to be; whether the token is right is for services to check against its hash. */
export function principalOf(authorization: string | undefined): Principal {
  if (authorization === undefined || authorization === '') return anonymous;
  if (authorization.length > maxAuthorizationChars) {
    throw new DomainError({
      reason: ErrorReason.TOKEN_INVALID,
      message: `the authorization metadata is longer than ${maxAuthorizationChars} characters`,
    });
  }
  if (authorization.slice(0, 7).toLowerCase() !== 'bearer ') return anonymous;
  const token = authorization.slice(7).trim();
  if (token === '') return anonymous;
  return { name: nameIn(token) ?? 'anonymous', token };
}

function nameIn(token: string): string | undefined {
  const encoded = tokenFormat.exec(token)?.[1];
  if (encoded === undefined) return undefined;
  const name = Buffer.from(encoded, 'base64url').toString('utf8');
  return claimedName.test(name) ? `agent:${name}` : undefined;
}
