import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../../lib/errors.ts';
import type { Handler, ServiceBinding } from '../service.ts';

/**
 * The same service, refusing every call: what a replica mounts for a part that its `capabilities` leave out, so that
 * callers learn that it was turned off and not that it does not exist.
 */
export function gateService(binding: ServiceBinding, capability: string): ServiceBinding {
  const refuse = (): never => {
    throw new DomainError({
      reason: ErrorReason.CAPABILITY_DISABLED,
      message: `${binding.service.typeName} is turned off on this replica: its capabilities leave out ${capability}`,
      metadata: { capability },
    });
  };
  const handlers = binding.handlers.map(({ method, kind }): Handler => {
    if (kind === 'unary') return { kind, method, handle: async () => refuse() };
    return { kind, method, handle: refuse };
  });
  return { service: binding.service, handlers, gated: true };
}
