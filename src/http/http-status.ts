import { Code } from '../rpc/codes.ts';
import type { RpcError } from '../rpc/errors.ts';

/** As the Connect protocol maps codes. */
const statuses: Partial<Record<Code, number>> = {
  [Code.CANCELLED]: 499,
  [Code.INVALID_ARGUMENT]: 400,
  [Code.DEADLINE_EXCEEDED]: 504,
  [Code.NOT_FOUND]: 404,
  [Code.ALREADY_EXISTS]: 409,
  [Code.PERMISSION_DENIED]: 403,
  [Code.RESOURCE_EXHAUSTED]: 429,
  [Code.FAILED_PRECONDITION]: 400,
  [Code.ABORTED]: 409,
  [Code.OUT_OF_RANGE]: 400,
  [Code.UNIMPLEMENTED]: 501,
  [Code.UNAVAILABLE]: 503,
  [Code.UNAUTHENTICATED]: 401,
};

/** The HTTP status of an error; a body over the size limit is 413, which clients know not to send again. */
export function httpStatus({ code, reason }: Pick<RpcError, 'code' | 'reason'>): number {
  return reason === 'MESSAGE_TOO_LARGE' ? 413 : (statuses[code] ?? 500);
}
