import type { Logger } from '../../lib/logger.ts';
import type { ActiveCall } from '../active-call.ts';
import { Code, codeName } from '../codes.ts';
import type { MappedError } from '../errors.ts';

/** One line a call: debug, or warn when it was our fault. Never payloads, never tokens. */
export function logCall(
  log: Logger,
  call: ActiveCall,
  error: MappedError | undefined,
  elapsedMs: number,
): void {
  const fields = {
    rpc: `${call.method.parent.typeName}/${call.method.name}`,
    protocol: call.protocol,
    peer: call.peer,
    principal: call.principal.name,
    code: codeName(error?.code ?? Code.OK),
    reason: error?.reason,
    error_id: error?.errorId,
    ms: Math.round(elapsedMs * 1000) / 1000,
  };
  if (error?.code === Code.INTERNAL) log.warn(fields, 'call failed');
  else log.debug(fields, 'call');
}
