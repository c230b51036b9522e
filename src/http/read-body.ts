import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../lib/errors.ts';
import type { NodeRequest } from '../rpc/connect-response.ts';

/**
 * A request's body, of which no more than `maxBytes` is kept; undefined: the client went away.
 * @throws DomainError MESSAGE_TOO_LARGE
 */
export function readBody(request: NodeRequest, maxBytes: number): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const tooLarge = () =>
      reject(
        new DomainError({
          reason: ErrorReason.MESSAGE_TOO_LARGE,
          message: `the body is larger than ${maxBytes} bytes, the limit of this replica (limits.max_message_bytes)`,
        }),
      );
    if (Number(request.headers['content-length'] ?? 0) > maxBytes) return tooLarge();
    const parts: Buffer[] = [];
    let size = 0;
    request.on('data', (part: Buffer) => {
      size += part.length;
      if (size <= maxBytes) {
        parts.push(part);
        return;
      }
      // What follows is thrown away until the answer has ended the connection.
      parts.length = 0;
      tooLarge();
    });
    request.once('end', () => resolve(Buffer.concat(parts)));
    request.once('error', () => resolve(undefined));
    request.once('close', () => resolve(undefined));
  });
}
