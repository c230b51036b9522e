import { create } from '@bufbuild/protobuf';
import {
  type ListLocksRequest,
  type ListLocksResponse,
  ListLocksResponseSchema,
  type Lock,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import { decodePageToken, encodePageToken, fingerprint } from '../../../lib/page-token.ts';
import { invalidFields } from '../../agent/errors.ts';
import type { KnownLock, LockView } from './lock-view.ts';

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

/** A page of a namespace's locks by name. @throws DomainError INVALID_FIELDS (page token) */
export function pageOfLocks(
  request: ListLocksRequest,
  { namespace, view, show }: { namespace: string; view: LockView; show: (known: KnownLock) => Lock },
): ListLocksResponse {
  const print = fingerprint([namespace, request.prefix]);
  const size = request.pageSize === 0 ? DEFAULT_PAGE : Math.min(MAX_PAGE, request.pageSize);
  const after = request.pageToken === '' ? '' : afterOf(request.pageToken, print);
  const locks: Lock[] = [];
  let more = false;
  for (const name of view.sorted(namespace)) {
    if (name <= after || !name.startsWith(request.prefix)) continue;
    more = locks.length === size;
    if (more) break;
    const known = view.get(namespace, name);
    if (known !== undefined) locks.push(show(known));
  }
  const last = locks.at(-1)?.name ?? '';
  return create(ListLocksResponseSchema, {
    locks,
    nextPageToken: more ? encodePageToken({ kind: 'locks', fingerprint: print, after: last }) : '',
  });
}

function afterOf(token: string, print: string): string {
  const decoded = decodePageToken(token, { kind: 'locks', fingerprint: print });
  if (decoded.kind === 'token') return decoded.after;
  throw invalidFields(`page_token ${decoded.description}`, [
    { field: 'page_token', description: decoded.description },
  ]);
}
